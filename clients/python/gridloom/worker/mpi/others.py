"""The hosts of a job beside its first one, as that one's agent sees them; and a job without any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gridloom.worker.mpi.folder import RankExit, RankFolder
    from gridloom.worker.mpi.implementations import Launcher
    from gridloom.worker.mpi.report import Failure
    from gridloom.worker.mpi.streams import Ears

    # Kind, number of the call, rank, words: as ranks say that they have left an answer.
    Take = Callable[[str, int, int, str], object]


class Others(Protocol):
    """What an agent asks of the other hosts. None of it raises where one of them is gone."""

    def ranks_here(self, ranks: int) -> Sequence[int]:
        """Of all the job's ranks those of the first host."""
        ...

    def gather(self, ears: Ears, folder: RankFolder, take: Take) -> bool:
        """Wait until each host is ready; False: the agent was told to end meanwhile.

        NotHereError names the host that did not come, or what it has not. From now on what ranks
        there leave is put into the folder, and then told.
        """
        ...

    def launcher_words(self, launcher: Launcher) -> list[str]:
        """How the launcher is to reach them. NotHereError: it cannot."""
        ...

    def keeper(self) -> list[str]:
        """What starts the launcher so that it ends with the agent, whatever becomes of that."""
        ...

    def rank_ended(self, rank: int, code: int, words: str) -> None:
        """A rank of the first host has not ended well; -1: the launcher has lost a host."""
        ...

    def is_broken(self) -> bool:
        """A rank of any host has not ended well, or is out of the launcher's reach."""
        ...

    def breakage(self) -> Failure | None:
        """Why that is, where no rank is to blame."""
        ...

    def call(self, number: int, pickle: bytes, *, is_fresh: bool) -> None:
        """The next call of a world, for all ranks there."""
        ...

    def close(self) -> None:
        """No more calls come."""
        ...

    def terminate(self) -> None:
        """Their ranks are told to end."""
        ...

    def look(self) -> None:
        """Ask where their ranks are."""
        ...

    def stacks(self) -> Mapping[int, str]:
        """Where they are, as far as it was told in time."""
        ...

    def finish(self) -> None:
        """End what runs there, and learn how it was."""
        ...

    def lost(self) -> Failure | None:
        """The first host that went away before that."""
        ...

    def ends(self) -> Sequence[RankExit]:
        """How ranks there ended."""
        ...

    def begun(self) -> dict[int, float | None]:
        """When their programs were about to be executed."""
        ...

    def lines(self) -> Mapping[int, list[bytes]]:
        """What they wrote last to their standard error."""
        ...


class NoOthers:
    """All ranks are on one host."""

    def ranks_here(self, ranks: int) -> Sequence[int]:
        """All of them."""
        return range(ranks)

    def gather(self, *_: object) -> bool:
        """There is nobody to wait for."""
        return True

    def launcher_words(self, *_: object) -> list[str]:
        """Launchers need none."""
        return []

    def keeper(self) -> list[str]:
        """Its supervisor sees to that."""
        return []

    def rank_ended(self, *_: object) -> None:
        """The launcher sees to the other ranks."""

    def is_broken(self) -> bool:
        """The launcher would end."""
        return False

    def breakage(self) -> Failure | None:
        """None."""
        return None

    def call(self, *_: object, is_fresh: bool) -> None:
        """Nobody."""

    def close(self) -> None:
        """Nobody."""

    def terminate(self) -> None:
        """Nobody."""

    def look(self) -> None:
        """Nobody."""

    def stacks(self) -> Mapping[int, str]:
        """None."""
        return {}

    def finish(self) -> None:
        """Nobody."""

    def lost(self) -> Failure | None:
        """Nobody."""
        return None

    def ends(self) -> Sequence[RankExit]:
        """None."""
        return ()

    def begun(self) -> dict[int, float | None]:
        """None."""
        return {}

    def lines(self) -> Mapping[int, list[bytes]]:
        """None."""
        return {}
