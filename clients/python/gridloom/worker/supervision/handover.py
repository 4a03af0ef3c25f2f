"""What a runtime and a supervisor hand over to each other, by files in one folder.

The runtime writes `spec.json` before it launches the supervisor, `stop.json` (here or one folder
up, for a whole gang) and `replicas` later on. The supervisor writes `pid`, `state.json`, the two
streams and, last and durably, `end.json`. Each file has one writer, except that a runtime writes
the end of a supervisor that died or never was, holding the lock that a living supervisor holds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

SPEC = "spec.json"
STOP = "stop.json"
REPLICAS = "replicas"
REPORT = "report"
LOCK = "lock"
PID = "pid"
STATE = "state.json"
END = "end.json"
# What the command reads, where the specification says so; put there before the start.
STDIN = "stdin"
STDOUT = "stdout"
STDERR = "stderr"
WORK = "work"
OUTPUTS = "outputs"
ERRORS = "supervisor.log"
# Beside the folders of all gangs: a datagram socket that the runtime listens on.
NOTIFY = "notify"
# What was cut out of a stream that grew too large, beside the stream: {"first": n, "end": m}.
GAP_SUFFIX = ".gap"
# In the environment of everything that the supervisor starts: finds what outlived it.
MARKER = "GRIDLOOM_SUPERVISION"

# Classes of failure, by the names of the scheduler's API.
NO_FAILURE = "NONE"
APPLICATION_ERROR = "APPLICATION_ERROR"
OUT_OF_MEMORY = "OUT_OF_MEMORY"
NODE_LOST = "NODE_LOST"
TIME_LIMIT = "TIME_LIMIT"
CANCELLED = "CANCELLED"

EXIT_NOT_STARTED = 125
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
SIGNAL_BASE = 128


class Spec(NamedTuple):
    """What a supervisor is to run.

    `unit` names it for the runtime ("GANG/ROLE.INDEX"). `memory_bytes` is for each replica that is
    there, the tree has the sum; 0: no limit. `grace_s` is for the time limit and for replicas that
    a resize ends.
    """

    unit: str
    command: list[str]
    env: dict[str, str]
    workdir: str
    marker: str
    replicas: list[int]
    colocate: bool = False
    outputs: list[str] = []  # noqa: RUF012 - never changed
    stdin: bool = False
    memory_bytes: int = 0
    time_limit_s: float | None = None
    grace_s: float = 10.0
    log_limit_bytes: int = 256 << 20


class Stop(NamedTuple):
    """That it should end: SIGTERM at once, SIGKILL at the time `kill_at` (since the epoch)."""

    reason: str
    kill_at: float

    def merged(self, other: Stop) -> Stop:
        """The reason of this one, the earlier kill of both."""
        return Stop(self.reason, min(self.kill_at, other.kill_at))


class Identity(NamedTuple):
    """A process, and no other that has its number after it."""

    pid: int
    start_time: int
    boot_id: str


class ReplicaEnd(NamedTuple):
    """How one replica of a shared process ended, as that process reported."""

    exit_code: int
    signal: int
    failure_class: str
    ended_at: float


class State(NamedTuple):
    """That the command runs (and where), and which of its replicas have ended already."""

    started_at: float
    child: int
    ended: dict[str, ReplicaEnd]

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> State:
        """Read back what `_asdict` gave."""
        return cls(record["started_at"], record["child"], _ends(record["ended"]))


class CollectedFile(NamedTuple):
    """A file below `outputs/`."""

    path: str
    size_bytes: int
    mode: int


class End(NamedTuple):
    """How it ended. `exit_code` is None where nobody could learn it."""

    exit_code: int | None
    signal: int
    failure_class: str
    reason: str
    started_at: float | None
    ended_at: float
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    ended: dict[str, ReplicaEnd] = {}  # noqa: RUF012 - never changed
    outputs: list[CollectedFile] = []  # noqa: RUF012 - never changed

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> End:
        """Read back what `_asdict` gave."""
        values = {name: record[name] for name in cls._fields if name in record}
        values["ended"] = _ends(record["ended"])
        values["outputs"] = [CollectedFile(*each) for each in record["outputs"]]
        return cls(**values)


def _ends(record: dict[str, Any]) -> dict[str, ReplicaEnd]:
    return {index: ReplicaEnd(*values) for index, values in record.items()}


def exit_outcome(status: int) -> tuple[int, int]:
    """Exit code and signal of a return code as Python gives it (negative: a signal)."""
    return (status, 0) if status >= 0 else (SIGNAL_BASE - status, -status)


def stop_from_record(record: dict[str, Any] | None) -> Stop | None:
    """Read back a stop request; None for none."""
    return None if record is None else Stop(record["reason"], record["kill_at"])


def spec_from_record(record: dict[str, Any]) -> Spec:
    """Read back a specification; keys that this version does not know are left out."""
    return Spec(**{name: record[name] for name in Spec._fields if name in record})
