"""The life of one supervised command: start, watch, end. See `gridloom.worker.supervisor`."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gridloom.worker.supervision import handover, processes
from gridloom.worker.supervision.collect import collect
from gridloom.worker.supervision.footprint import Footprint
from gridloom.worker.supervision.handover import End, Spec, State
from gridloom.worker.supervision.launch import Command, LaunchError, launch
from gridloom.worker.supervision.records import read_record, write_record
from gridloom.worker.supervision.reports import Reports
from gridloom.worker.supervision.streamlimit import StreamLimit
from gridloom.worker.supervision.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK = signal.SIGUSR1
_MACHINE_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NEVER = float("inf")
# The listener's buffer was full: try again, nobody else wakes it.
_NOTIFY_AGAIN_S = 0.1


class Cause(NamedTuple):
    """Why the command is being ended, and when patience ends (in `time.monotonic`)."""

    failure_class: str
    reason: str
    kill_at: float


class Supervision:
    """One command and everything below it. Runs in its folder, in a process with one thread."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._wakeup = Wakeup((signal.SIGCHLD, _LOOK, *_MACHINE_STOPS))
        self._footprint = Footprint(spec.memory_bytes)
        self._reports = Reports() if spec.colocate else None
        self._limits: list[StreamLimit] = []
        self._cause: Cause | None = None
        self._child = 0
        self._code: int | None = None
        self._alone = False
        self._started_at: float | None = None
        self._time_limit_at = _NEVER
        self._look_at = 0.0
        self._kills_before = 0
        self._notify_again = False

    def run(self) -> End:
        """Start the command unless it is to stop already; return how it ended."""
        self._read_stop()
        if self._cause is not None:
            return self._end(None, self._cause.failure_class, self._cause.reason)
        try:
            self._start()
        except LaunchError as error:
            return self._end(error.exit_code, error.failure_class, error.reason)
        self._tell_state()
        while not self._is_over(time.monotonic()):
            self._step()
        return self._finish()

    def broken(self, error: str) -> End:
        """End everything after an error of this program itself."""
        processes.end_descendants()
        return self._end(None, handover.NODE_LOST, f"the supervisor failed: {error}")

    def _start(self) -> None:
        spec = self._spec
        with contextlib.ExitStack() as stack:
            streams = stack.enter_context(_streams(handover.STDIN if spec.stdin else os.devnull))
            self._kills_before = processes.kernel_kills()
            env = inherited_environment() | spec.env | {handover.MARKER: spec.marker}
            if self._reports:
                env |= self._reports.environment()
                self._wakeup.add(self._reports.descriptor)
            self._child = launch(Command(spec.command, env, spec.workdir, streams))
        self._started_at = time.time()
        if spec.time_limit_s is not None:
            self._time_limit_at = time.monotonic() + spec.time_limit_s
        self._share_memory()
        paths = Path(handover.STDOUT), Path(handover.STDERR)
        self._limits = [StreamLimit(path, spec.log_limit_bytes) for path in paths]

    def _step(self) -> None:
        signals, ready = self._wakeup.wait(self._next_at())
        self._reap()
        if ready and self._reports:
            self._reports.read()
            self._share_memory()
            self._tell_state()
        if _LOOK in signals:
            self._read_stop()
            self._pass_on_replicas()
        if signals.intersection(_MACHINE_STOPS):
            self._machine_stops()
        self._watch(time.monotonic())
        if self._notify_again:
            self.notify()

    def _next_at(self) -> float | None:
        at = min(self._look_at, self._time_limit_at)
        if self._cause:
            at = min(at, self._cause.kill_at)
        if self._notify_again:
            at = min(at, time.monotonic() + _NOTIFY_AGAIN_S)
        return at

    def _reap(self) -> None:
        codes: dict[int, int] = {}
        self._alone = not processes.reap(codes)
        if self._child in codes:
            self._code = codes[self._child]
            self._tell_strays()

    def _tell_strays(self) -> None:
        """When a command has ended because it was told to: tell those outside its group."""
        if self._cause:
            below = processes.descendants(os.getpid())
            strays = [pid for pid in below if processes.group(pid) != self._child]
            processes.send(strays, signal.SIGTERM)

    def _is_over(self, now: float) -> bool:
        """The command has ended, or patience has. Children of a stopped one have time as well."""
        if self._cause is not None:
            return self._alone or now >= self._cause.kill_at
        return self._code is not None

    def _watch(self, now: float) -> None:
        if now >= self._time_limit_at:
            limit = f"the time limit of {self._spec.time_limit_s:g} s"
            self._time_limit_at = _NEVER
            self._ask(Cause(handover.TIME_LIMIT, limit, now + self._spec.grace_s))
        if now < self._look_at:
            return
        if self._footprint.look():
            used, limit = map(_readable, (self._footprint.peak_bytes, self._footprint.limit_bytes))
            reason = f"used {used} of memory; the limit is {limit}"
            self._ask(Cause(handover.OUT_OF_MEMORY, reason, now))
        with contextlib.suppress(OSError):
            for stream in self._limits:
                stream.look()
        pauses = [self._footprint.pause_s(), *(stream.pause_s() for stream in self._limits)]
        self._look_at = now + min(pauses)

    def _read_stop(self) -> None:
        for folder in (Path(), Path("..")):
            stop = handover.stop_from_record(read_record(folder / handover.STOP))
            if stop:
                # The request is in the time of clocks; a wait is in time that only goes forward.
                patience_s = max(0.0, stop.kill_at - time.time())
                kill_at = time.monotonic() + patience_s
                self._ask(Cause(handover.CANCELLED, stop.reason, kill_at))

    def _machine_stops(self) -> None:
        kill_at = time.monotonic() + self._spec.grace_s
        self._ask(Cause(handover.NODE_LOST, "the machine is going down", kill_at))

    def _ask(self, cause: Cause) -> None:
        """Begin to end the command. The first cause stands, the earliest end of patience too."""
        before = self._cause
        self._cause = (
            before._replace(kill_at=min(before.kill_at, cause.kill_at)) if before else cause
        )
        if before is None and self._child and cause.kill_at > time.monotonic():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child, signal.SIGTERM)
                os.killpg(self._child, signal.SIGCONT)

    def _share_memory(self) -> None:
        if self._reports:
            self._footprint.limit_bytes = self._spec.memory_bytes * max(1, self._reports.present())

    def _pass_on_replicas(self) -> None:
        self._share_memory()
        if self._reports and self._reports.wants_notice and self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGHUP)

    def _tell_state(self) -> None:
        assert self._started_at is not None
        ended = self._reports.ended if self._reports else {}
        state = State(self._started_at, self._child, ended)
        with contextlib.suppress(OSError):  # a full disk: the end will tell
            write_record(Path(handover.STATE), state._asdict(), durable=False)
        self.notify()

    def notify(self) -> None:
        """Wake whoever listens, if anybody does."""
        self._notify_again = False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as door:
            try:
                door.sendto(self._spec.unit.encode(), f"../../{handover.NOTIFY}")
            except BlockingIOError:
                self._notify_again = True
            except OSError:
                return

    def _finish(self) -> End:
        codes, all_gone = processes.end_descendants()
        self._code = codes.get(self._child, self._code)
        if self._reports:
            self._reports.read()
        with contextlib.suppress(OSError):
            for stream in self._limits:
                stream.look()
        if self._code is None:
            return self._end(None, handover.NODE_LOST, "a process hangs and cannot be killed")
        failure_class, reason = self._verdict(self._code)
        if not all_gone:
            reason += "; a process below it hangs and cannot be killed"
        return self._end(self._code, failure_class, reason)

    def _verdict(self, code: int) -> tuple[str, str]:
        if self._cause:
            return self._cause.failure_class, self._cause.reason
        if code == -signal.SIGKILL and processes.kernel_kills() > self._kills_before:
            return handover.OUT_OF_MEMORY, "killed by the kernel: the machine ran out of memory"
        if code < 0:
            return handover.APPLICATION_ERROR, f"ended by {_signal_name(-code)}"
        if code > 0:
            told = self._reports.verdict if self._reports else None
            return told or (handover.APPLICATION_ERROR, f"exit code {code}")
        return handover.NO_FAILURE, ""

    def _end(self, code: int | None, failure_class: str, reason: str) -> End:
        exit_code, number = (None, 0) if code is None else handover.exit_outcome(code)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        if self._child:
            self._footprint.note_largest(usage.ru_maxrss * 1024)
        end = End(
            exit_code=exit_code,
            signal=number,
            failure_class=failure_class,
            reason=reason,
            started_at=self._started_at,
            ended_at=time.time(),
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_memory_bytes=self._footprint.peak_bytes,
            ended=self._reports.ended if self._reports else {},
        )
        return self._with_outputs(end) if self._child else end

    def _with_outputs(self, end: End) -> End:
        workdir, own = Path(self._spec.workdir), Path(handover.WORK).resolve()
        link = workdir.resolve() == own
        into = Path(handover.OUTPUTS)
        try:
            return end._replace(outputs=collect(workdir, self._spec.outputs, into, link=link))
        except OSError as error:
            reason = f"its outputs could not be collected: {error.strerror}"
            if end.failure_class != handover.NO_FAILURE:
                return end._replace(reason=f"{end.reason}; {reason}")
            return end._replace(failure_class=handover.NODE_LOST, reason=reason)


@contextlib.contextmanager
def _streams(stdin: str) -> Iterator[tuple[int, int, int]]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    opened = [os.open(stdin, os.O_RDONLY | os.O_CLOEXEC)]
    try:
        opened += [os.open(name, flags, 0o600) for name in (handover.STDOUT, handover.STDERR)]
        yield opened[0], opened[1], opened[2]
    finally:
        for descriptor in opened:
            os.close(descriptor)


def inherited_environment() -> dict[str, str]:
    """The environment that the platform was started in, without what is meant for the platform."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GRIDLOOM_")}


def _readable(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.0f} MiB"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
