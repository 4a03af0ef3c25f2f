"""The agent's work: launch, listen, judge, report. See `gridloom.worker.rank_agent`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom.worker.mpi import names
from gridloom.worker.mpi.call import RankCall
from gridloom.worker.mpi.folder import STREAMS, RankFolder, in_order
from gridloom.worker.mpi.implementations import (
    KNOWN,
    Launcher,
    NotHereError,
    find_launcher,
    foreign_library,
    mpiexec_command,
    rank_environment,
    which,
)
from gridloom.worker.mpi.others import NoOthers
from gridloom.worker.mpi.proxy import PROXY, Proxy
from gridloom.worker.mpi.scripts import rank_program
from gridloom.worker.mpi.streams import Ears
from gridloom.worker.mpi.tagging import Tagger
from gridloom.worker.profiling import words as profile_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom.worker.mpi.others import Others
    from gridloom.worker.mpi.report import Failure
    from gridloom.worker.mpi.spec import LaunchSpec

_NEVER = float("inf")
_LONGEST_WAIT_S = 3600.0
# After the launcher has failed, what ranks still have to say is on its way for so long.
_LINGER_S = 0.05
_EXIT_NOT_FOUND = 127
_EXIT_TIMEOUT = 124
_EXIT_TERMINATED = 128 + signal.SIGTERM
_PLACES_SHOWN = 3
# Launchers end the other ranks of one that ended badly, but not where it had not begun in MPI yet:
# with MPICH 5.0.2 those wait for it for ever.
_GRACE_S = 1.0
_LAUNCHER_MARK = b"[mpiexec] "
# What `-m` imports first, ranks do without.
RANK_PROGRAM = "from gridloom.worker.mpi.rank import main; main()"


class Agent:
    """One job, from the launch of its ranks to their end."""

    def __init__(
        self, spec: LaunchSpec, environment: Mapping[str, str], others: Others | None = None
    ) -> None:
        self._spec = spec
        self._others = others or NoOthers()
        self._environment = dict(environment)
        self._here = Path.cwd()
        self._report_file = environment.get("GRIDLOOM_REPORT_FILE", "")
        place = Path(self._report_file).parent if self._report_file else _own_folder()
        self._folder = RankFolder(place / "ranks", self._others.ranks_here(spec.ranks))
        self._taggers = {stream: Tagger() for stream in STREAMS}
        self._launcher_lines: list[bytes] = []
        self._rests: dict[str, bytes] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._code: int | None = None
        self._failure: Failure | None = None
        self._is_told_to_end = False
        # When a rank was first heard to have ended badly.
        self._bad_end_at = _NEVER
        self._call = RankCall(0, spec.ranks, self._folder.path, root_only=spec.root_only)

    def run(self) -> int:
        """Launch, and stay until the end; the exit code."""
        self._ears = Ears()
        self._proxy = Proxy(self._ears)
        self._ends_at = time.monotonic() + (self._spec.timeout_s or _NEVER)
        try:
            self._launch()
        except (NotHereError, OSError) as error:
            self._failure = failure_of(str(error), exit_code=_EXIT_NOT_FOUND)
        while self._code is None and self._failure is None:
            left_s = min(self._ends_at, self._patience_ends_at()) - time.monotonic()
            self._ears.wait(self._proxy.pause_s(min(max(left_s, 0), _LONGEST_WAIT_S)))
            self._look(is_late=time.monotonic() >= self._ends_at)
            self._look_above()
            self._look_elsewhere()
        return self._finish()

    def _look_above(self) -> None:
        """What stands between the launcher and the ranks may be gone without a word."""
        if self._process is not None:
            self._proxy.look(self._process.pid)
        if self._proxy.is_lost() and self._code is None:
            self._failure = self._failure or failure_of(f"{PROXY}, which starts the ranks, is gone")
        if time.monotonic() >= self._patience_ends_at():
            self._end_ranks()

    def _patience_ends_at(self) -> float:
        """With a launcher that goes on without a rank."""
        return _NEVER if self._is_told_to_end else self._bad_end_at + _GRACE_S

    def _look_elsewhere(self) -> None:
        """Launchers do not see to it that ranks of all hosts end together."""
        self._failure = self._failure or self._others.lost()
        if self._others.is_broken() and not self._is_told_to_end:
            self._end_ranks()

    # ---- the beginning

    def _launch(self) -> None:
        launcher = self._prepare()
        if not self._others.gather(self._ears, self._folder, self._take):
            self._is_told_to_end, self._code = True, _EXIT_TERMINATED
            return
        self._all_are_here()
        hosts = self._others.launcher_words(launcher)
        ranks = self._folder.shell(self._rank_command())
        command = mpiexec_command(launcher, self._spec, ranks, hosts)
        command = [*self._others.keeper(), *command]
        # In a session of its own: who ends this agent's group lets it end the ranks in order.
        self._process = subprocess.Popen(
            command,
            env=self._rank_environment(launcher),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._ears.when_over(self._process.pid, self._reap)
        for name, stream in (("out", self._process.stdout), ("err", self._process.stderr)):
            assert stream is not None
            self._ears.listen(os.dup(stream.fileno()), partial(self._launcher_says, name))
            stream.close()

    def _all_are_here(self) -> None:
        """Ranks do not pay for the time that their hosts took to gather."""
        if self._spec.is_of_ranks and self._spec.timeout_s is not None:
            self._ends_at = time.monotonic() + self._spec.timeout_s

    def _prepare(self) -> Launcher:
        """This host has what its ranks need; else a NotHereError says what it has not."""
        path = os.pathsep.join(
            (str(Path(sys.executable).parent), self._environment.get("PATH", ""))
        )
        self._environment["PATH"] = path
        launcher = find_launcher(self._spec.implementation, path)
        self._check_program(launcher, path)
        self._folder.prepare()
        self._say_that_profiles_come()
        self._unpack_modules()
        self._listen()
        return launcher

    def _check_program(self, launcher: Launcher, path: str) -> None:
        if self._spec.is_function:
            return
        word = self._spec.command[0]
        program = which(word, path)
        if program is None:
            raise NotHereError(
                f'rank {self._folder.ranks[0]}: there is no program "{word}" where the ranks run'
            )
        if other := foreign_library(program, launcher.implementation):
            raise NotHereError(
                f'rank {self._folder.ranks[0]}: "{word}" is linked against {other}, but this job'
                f" runs under {KNOWN[launcher.implementation].title}: name the other implementation"
            )

    def _say_that_profiles_come(self) -> None:
        """Where none is left, it is known then that one was asked for."""
        if self._environment.get(profile_words.VARIABLE):
            folder = self._here / profile_words.FOLDER
            folder.mkdir(exist_ok=True)
            (folder / profile_words.ASKED).touch()

    def _unpack_modules(self) -> None:
        """The user's own, where each rank looks for them."""
        if self._spec.bundle:
            import zipfile

            bundle = self._here / self._spec.bundle
            with zipfile.ZipFile(bundle) as archive:
                archive.extractall(bundle.with_suffix(""))

    def _rank_environment(self, launcher: Launcher) -> dict[str, str]:
        spec = self._spec
        environment = rank_environment(launcher, spec, self._environment)
        environment["GRIDLOOM_MPI_FOLDER"] = str(self._folder.path)
        if spec.is_function:
            environment[names.CALL_VARIABLE] = str(self._here / spec.call)
            bundle = self._here / spec.bundle
            environment[names.MODULES_VARIABLE] = str(bundle.with_suffix("")) if spec.bundle else ""
            environment[names.ROOT_ONLY_VARIABLE] = "1" if spec.root_only else ""
        return environment

    def _rank_command(self) -> list[str]:
        if self._spec.is_function:
            return [sys.executable, "-c", RANK_PROGRAM]
        is_profiled = bool(self._environment.get(profile_words.VARIABLE))
        path = self._environment["PATH"]
        return rank_program(self._spec.command, path, is_profiled=is_profiled)

    def _listen(self) -> None:
        for rank in self._folder.ranks:
            for stream in STREAMS:
                descriptor = self._folder.open_stream(stream, rank)
                self._ears.listen(descriptor, partial(self._rank_writes, stream, rank))
        self._ears.listen(self._folder.open_said(), self._ranks_say)

    # ---- what comes

    def _rank_writes(self, stream: str, rank: int, data: bytes) -> None:
        _write(stream, self._taggers[stream].feed(rank, data))

    def _launcher_says(self, stream: str, data: bytes) -> None:
        *lines, self._rests[stream] = (self._rests.get(stream, b"") + data).split(b"\n")
        self._launcher_lines += lines
        _write(stream, b"".join(_LAUNCHER_MARK + line + b"\n" for line in lines))

    def _ranks_say(self, data: bytes) -> None:
        """Lines `value CALL RANK`, `error CALL RANK WORDS`, `exit CODE RANK`, each in one piece."""
        *lines, self._rests["said"] = (self._rests.get("said", b"") + data).split(b"\n")
        for line in lines:
            kind, number, rank, words = [*line.decode("utf-8", "replace").split(" ", 3), ""][:4]
            self._take(kind, int(number), int(rank), words)

    def _take(self, kind: str, number: int, rank: int, words: str) -> None:
        if kind == names.EXIT:
            self._bad_end_at = min(self._bad_end_at, time.monotonic())
            self._others.rank_ended(rank, number, words)
        elif number == self._call.number:
            self._call.answered(rank, kind, words)

    def _reap(self) -> None:
        assert self._process is not None
        self._code = self._process.wait()

    def _look(self, *, is_late: bool) -> None:
        """Is there a reason to end?"""
        if self._ears.signals:
            self._ears.signals.clear()
            self._pass_on_the_end()
        if self._has_failed():
            self._failure = self._call.failure()
        elif is_late and self._code is None and not self._is_told_to_end:
            self._failure = self._too_late()

    def _has_failed(self) -> bool:
        return self._call.failed is not None

    def _pass_on_the_end(self) -> None:
        """Ranks are told to end as this agent was; how long they may take, others see to.

        Those that only begin would not hear it, and have nothing yet to bring to an end.
        """
        self._is_told_to_end = True
        if self._are_at_work():
            _send(self._rank_processes(), signal.SIGTERM)
        else:
            self._end_ranks()
        self._others.terminate()

    def _are_at_work(self) -> bool:
        """Each rank of this host runs its program, or has ended."""
        from gridloom.worker.supervision.processes import descendants

        ended = {each.rank for each in self._folder.exits()}
        shells = [self._folder.pid(rank) for rank in self._folder.ranks if rank not in ended]
        return all(shell is not None and any(descendants(shell)) for shell in shells)

    def _rank_processes(self) -> list[int]:
        """Programs of ranks, not the shells above them: those are to see how they end."""
        from gridloom.worker.supervision.processes import descendants

        shells = [self._folder.pid(rank) for rank in self._folder.ranks]
        return [pid for shell in shells if shell is not None for pid in descendants(shell)]

    def _stacks(self) -> dict[int, str]:
        """Where each rank of this host is; it stands in the log as well."""
        from gridloom.worker.mpi.stacks import rank_stacks

        stacks = rank_stacks(self._folder, are_ours=self._spec.is_function)
        for rank, stack in stacks.items():
            _write("err", self._taggers["err"].feed(rank, f"{stack.rstrip()}\n".encode()))
        return stacks

    def _too_late(self) -> Failure:
        from gridloom.worker.mpi.stacks import place_of

        self._others.look()
        stacks = {**self._stacks(), **self._others.stacks()}
        limit = f"the {self._spec.limit}"
        places = [f"rank {rank} in {place_of(stacks[rank])}" for rank in sorted(stacks)]
        shown = "; ".join(places[:_PLACES_SHOWN]) + ("; ..." if places[_PLACES_SHOWN:] else "")
        first = min(stacks, default=-1)
        return failure_of(
            f"{limit}: {shown}" if shown else limit,
            first,
            exit_code=_EXIT_TIMEOUT,
            is_timeout=True,
            stacks={str(rank): stack for rank, stack in stacks.items()},
        )

    # ---- the end

    def _finish(self) -> int:
        self._end_ranks()
        self._others.finish()
        self._ears.wait(_LINGER_S if self._failure or self._code else 0)
        self._ears.drain()
        for stream, tagger in self._taggers.items():
            _write(stream, tagger.finish())
        failure = self._judged()
        self._leave_report(failure)
        if failure is None:
            self._leave_times()
            return 0
        from gridloom.worker.mpi.leftovers import free_shared_memory

        free_shared_memory()
        _write("err", f"[agent] {failure.reason}\n".encode())
        self._tell_supervisor(failure)
        return failure.exit_code or 1

    def _end_ranks(self) -> None:
        """Of a job that has failed nothing may go on."""
        if self._process is not None and self._code is None:
            _send([*self._rank_processes(), self._process.pid], signal.SIGKILL)
            self._reap()

    def _judged(self) -> Failure | None:
        if self._failure is not None:
            return self._failure
        if self._code == 0 and (self._call.is_complete or not self._spec.is_function):
            return None
        return self._judged_by_traces()

    def _judged_by_traces(self) -> Failure | None:
        from gridloom.worker.mpi import verdict

        if self._is_told_to_end and self._code:
            return failure_of("it was told to end", exit_code=_EXIT_TERMINATED)
        if lost := self._others.lost():
            return lost
        if self._call.failed is not None:
            return self._call.failure()
        if self._code == 0:
            rank = self._call.missing()[0]
            return failure_of(f"rank {rank} ended without a result", rank)
        lines = {**self._taggers["err"].last, **self._others.lines()}
        exits = in_order([*self._folder.exits(), *self._others.ends()])
        return (
            verdict.aborted(lines, self._launcher_lines)
            or verdict.first_bad(exits)
            or self._others.breakage()
            or verdict.launcher_failure("mpiexec", self._code or 1)
        )

    def _leave_report(self, failure: Failure | None) -> None:
        if failure is None and not self._spec.is_function:
            return
        path = self._here / self._spec.report
        with contextlib.suppress(OSError):  # a full disk: the reason is told all the same
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._call.report(failure).encoded())

    def _leave_times(self) -> None:
        """For a scaling study, which wants to know how long the ranks were at work."""
        if name := self._environment.get(names.TIMES_VARIABLE):
            from gridloom.worker.mpi.times import leave_times

            leave_times(self._here / name, self._folder, self._others)

    def _tell_supervisor(self, failure: Failure) -> None:
        if not self._report_file:
            return
        line = f"failed {failure.kind} {failure.reason}".replace("\n", " ")[:2000]
        with contextlib.suppress(OSError):
            descriptor = os.open(self._report_file, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(descriptor, f"{line}\n".encode())
            finally:
                os.close(descriptor)


def _own_folder() -> Path:
    """Where there is no supervisor."""
    import tempfile

    return Path(tempfile.mkdtemp())


def failure_of(reason: str, rank: int = -1, **details: Any) -> Failure:
    """Loaded when there is one: an agent's start is a part of every job's."""
    from gridloom.worker.mpi.report import Failure

    return Failure(reason, rank, **details)


def _write(stream: str, data: bytes) -> None:
    """To our own stream, all of it; nothing can be done where that is gone."""
    descriptor = 1 if stream == "out" else 2
    view = memoryview(data)
    with contextlib.suppress(OSError):
        while view:
            view = view[os.write(descriptor, view) :]


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
