"""The one interface of everything that a scaling study can measure, and what a spec becomes.

Another kind of work joins by a class with these methods and a line in `_kinds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from gridloom.errors import InvalidRequestError
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gridloom.client import Client
    from gridloom.studies.study import Run


@dataclass(frozen=True, slots=True)
class Turn:
    """One run that is to be made: the `repeat`-th (from 1) of a width, in a study.

    `key` is the same whenever the same study comes to the same run, and no other study's.
    """

    study: str
    key: str
    width: int
    repeat: int

    @property
    def request_id(self) -> str:
        """By which the platform knows the run."""
        return f"study-{self.key}-{self.width}-{self.repeat}"

    @property
    def labels(self) -> dict[str, str]:
        """By which people find it."""
        return {"study": self.study, "width": str(self.width)}


@runtime_checkable
class Work(Protocol):
    """Work that has a width. Its runs come one after the other, in any order of widths."""

    @property
    def unit(self) -> str:
        """What a width is a number of: "ranks"."""
        ...

    @property
    def title(self) -> str:
        """What is run, for people: short."""
        ...

    def text(self, width: int) -> str:
        """What is run at this width, exactly: the same in every process."""
        ...

    def check(self, client: Client, width: int) -> None:
        """Refuse a width that the platform can never hold; nothing is started."""
        ...

    def run(self, client: Client, turn: Turn) -> Run:
        """Run it, or go on with the same turn's run where that was left, and measure it."""
        ...


def work_of(spec: Any, options: Mapping[str, Any]) -> Work:
    """The work that a user means. InvalidRequestError: it has no width."""
    for is_meant, made in _kinds():
        if is_meant(spec):
            return made(spec, options)
    if isinstance(spec, Work):
        return spec
    if callable(spec) and not _is_incomplete(spec):
        return WorkByWidth(spec, options)
    raise _without_width(spec)


class WorkByWidth:
    """Work that is another one at each width: what weak scaling takes."""

    def __init__(self, spec_of: Callable[[int], Any], options: Mapping[str, Any]) -> None:
        self._spec_of = spec_of
        self._options = options

    def __repr__(self) -> str:
        return repr(self._spec_of)

    @property
    def unit(self) -> str:
        """That of the work of one."""
        return self._at(1).unit

    @property
    def title(self) -> str:
        """That of the work of one."""
        return self._at(1).title

    def text(self, width: int) -> str:
        """That of the work of this width."""
        return self._at(width).text(width)

    def check(self, client: Client, width: int) -> None:
        """As the work of this width is."""
        self._at(width).check(client, width)

    def run(self, client: Client, turn: Turn) -> Run:
        """The work of this width."""
        return self._at(turn.width).run(client, turn)

    def _at(self, width: int) -> Work:
        spec = self._spec_of(width)
        if callable(spec) and not isinstance(spec, Work) and not _is_signature(spec):
            raise _without_width(spec)
        return work_of(spec, self._options)


def _kinds() -> tuple[tuple[Callable[[Any], bool], Callable[[Any, Any], Work]], ...]:
    """Who a spec may be meant for, and what makes work of it; imported when there is a study."""
    from gridloom.calls.signature import Signature, Workflow
    from gridloom.mpi_jobs.function import MpiFunction
    from gridloom.mpi_jobs.signature import MpiSignature
    from gridloom.studies.mpi import FunctionRanks, ProgramRanks
    from gridloom.studies.workers import Workers

    return (
        (lambda spec: isinstance(spec, MpiFunction), lambda s, o: FunctionRanks(s.s(), o)),
        (lambda spec: isinstance(spec, MpiSignature), FunctionRanks),
        (lambda spec: isinstance(spec, str | list | tuple), ProgramRanks),
        (lambda spec: isinstance(spec, Workflow) and not isinstance(spec, Signature), Workers),
    )


def _is_signature(spec: Any) -> bool:
    return any(is_meant(spec) for is_meant, _ in _kinds())


def _is_incomplete(spec: Any) -> bool:
    """One call has no width, and neither has a function that is called with nothing."""
    from gridloom.calls.function import Function
    from gridloom.calls.signature import Signature

    return isinstance(spec, Function | Signature)


def _without_width(spec: Any) -> InvalidRequestError:
    allowed = (
        "an MPI call such as heat.s(512), an MPI program such as ['./solver'], several calls such"
        " as gridloom.group(fit.s(c) for c in cs), or a function from the width to one of these"
    )
    given = f"{spec!r:.100}"
    return InvalidRequestError(
        f"{given} has no width to scale; give {allowed}",
        field="spec",
        given=given,
        allowed=allowed,
    )
