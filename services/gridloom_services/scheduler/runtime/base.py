"""What a runtime is: the values that go through the door, and the promises on the other side.

A runtime starts gangs of processes on nodes, tells how each replica fares, and ends them. It
decides nothing: where a replica goes is the engine's choice, what an end means for the job (retry,
stop the rest of the gang, fail) is the scheduler's. One contract suite runs on every
implementation (`tests/contract/test_runtime.py`).
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Protocol

from gridloom.values import dataclass

from gridloom_services.scheduler.states import FailureClass

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from pathlib import Path

# Exit codes that a runtime gives where the command itself gave none.
EXIT_NOT_STARTED = 125  # no folder to run in, an input file that is not there, ...
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127


class Phase(StrEnum):
    """Where a replica is in its life. It only moves forward."""

    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


class LogStream(StrEnum):
    """The two streams of a process."""

    STDOUT = "stdout"
    STDERR = "stderr"


class Feature(Enum):
    """What not every runtime can do; a job that asks for more is refused at submit."""

    IMAGES = "images"
    VOLUMES = "volumes"
    SECRETS = "secrets"
    STDIN = "standard input"


@dataclass(frozen=True, slots=True)
class InputFile:
    """An object that lies at `path` below the working folder before the command starts.

    `digest` is "sha256:" and 64 hexadecimal digits; `mode` the permission bits.
    """

    path: str
    digest: str
    size_bytes: int
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Volume:
    """A claim, mounted into the replica."""

    claim: str
    mount_path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    """One key of a secret, as an environment variable or (from "/" on) as a file."""

    name: str
    key: str
    target: str


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that the replica left behind, already stored under its digest."""

    path: str
    digest: str
    size_bytes: int
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class GangRole:
    """One role of a gang.

    `replicas` are the indices that the gang starts with. `resources` are per replica; "memory" (in
    bytes) is enforced, 0 or absent means no limit; of a colocated role the replicas on one node
    have the sum together. `workdir` is absolute, or empty for a fresh folder. `outputs` are
    paths and glob patterns below the working folder; one that names a folder means all below it.
    `stdin` is what each replica reads from its standard input (its path says nothing); None: it is
    empty.

    `image`, `volumes`, `secrets` and `stdin` need the runtime's `Feature`; a runtime without images
    runs the command in the platform's own environment and takes no notice of `image`.
    """

    name: str
    replicas: tuple[int, ...]
    command: tuple[str, ...]
    colocate: bool = False
    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    files: tuple[InputFile, ...] = ()
    outputs: tuple[str, ...] = ()
    resources: Mapping[str, int] = field(default_factory=dict)
    workdir: str = ""
    volumes: tuple[Volume, ...] = ()
    secrets: tuple[Secret, ...] = ()
    stdin: InputFile | None = None


@dataclass(frozen=True, slots=True)
class Gang:
    """Everything needed to start one attempt of a job, or of one element of an array.

    `name` is unique for ever, since it carries the attempt: "job_x-a2", "job_x.7-a1". Besides
    `env` (which a role's own `env` overrides) each process finds GRIDLOOM_JOB_ID, GRIDLOOM_ATTEMPT,
    GRIDLOOM_ROLE, GRIDLOOM_REPLICA_INDEX, GRIDLOOM_REPLICAS (how many the role has at the start; of
    a colocated role, how many are on this node), GRIDLOOM_NODE, GRIDLOOM_WORKDIR and, unless it is
    empty, `token` as GRIDLOOM_TOKEN. Those of a colocated role on several nodes find one another by
    GRIDLOOM_HOSTS (`gridloom.worker.hosts`), as planned when each was made. The caller puts
    GRIDLOOM_ADDRESS and GRIDLOOM_ARRAY_INDEX into `env`. `time_limit_s` counts from each process's
    own start; None: no limit.
    """

    name: str
    job_id: str
    attempt: int
    roles: tuple[GangRole, ...]
    element: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    time_limit_s: float | None = None

    def role(self, name: str) -> GangRole:
        """The role of that name; KeyError if there is none."""
        for role in self.roles:
            if role.name == name:
                return role
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One replica and the node that it runs on."""

    role: str
    index: int
    node: str


Placement = tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One replica as it is now.

    Times are seconds since the epoch. `failure_class` is NONE while it lives and where it
    ended with exit code 0 by itself. CANCELLED means that it ended after `stop` or `resize` had
    asked for it, whatever its exit code; who asked knows better why (preempted, ...) and may say
    so. A replica that ends before the request reaches it keeps its own outcome.

    `exit_code` is None until the end, 128 + `signal` where a signal ended it, one of the EXIT_
    constants where the command could not be started, and None where nobody could learn it
    (NODE_LOST). `signal` is 0 where it exited by itself.

    Replicas of a colocated role on one node share a process, and one may end before it. `log_index`
    is the replica whose logs hold this one's output: itself, or the first of those that share. The
    processor time and the outputs of the shared process are on one replica alone (the lowest of
    those that end with it), so that a sum counts them once.
    """

    gang: str
    role: str
    index: int
    phase: Phase
    node: str
    log_index: int
    exit_code: int | None = None
    signal: int = 0
    failure_class: FailureClass = FailureClass.NONE
    reason: str = ""
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    outputs: tuple[OutputFile, ...] = ()

    @property
    def succeeded(self) -> bool:
        """It ended, and well."""
        return self.phase is Phase.ENDED and self.failure_class is FailureClass.NONE


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Part of one stream.

    `offset` is where `data` begins in the stream, `next_offset` where to read on. They differ by
    more than the length of `data` where the stream was larger than the runtime keeps: then the
    data says how much is missing there. `complete`: the process is over and there is no more
    behind `next_offset`.
    """

    data: bytes
    offset: int
    next_offset: int
    complete: bool


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A stream in the object store. From `first` to `end` its middle is missing."""

    digest: str
    first: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class ExecChunk:
    """What a command beside a replica said. The last one alone has an exit code, and no data."""

    stream: LogStream = LogStream.STDOUT
    data: bytes = b""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    """What a node has in all: "cpu" in thousandths, "memory" in bytes, others in whole units.

    `oversubscribed`: it was told to claim more than the machine has. Where it is not `schedulable`,
    what runs there goes on and nothing new may come. `at_best`: what it would have if all others
    left who may; None: the same.
    """

    name: str
    capacity: Mapping[str, int]
    labels: Mapping[str, str] = field(default_factory=dict)
    oversubscribed: bool = False
    schedulable: bool = True
    at_best: Mapping[str, int] | None = None


class GangNotFoundError(LookupError):
    """The runtime knows no gang (or no such replica of it) by that name."""


class GangActiveError(RuntimeError):
    """What was asked is for gangs whose replicas have all ended."""


class ObjectsDoor(Protocol):
    """Where input files come from and outputs go."""

    async def fetch(self, digest: str, path: Path) -> None:
        """Write the object to `path`, which does not exist yet; its folder does.

        Raises LookupError if there is no such object, OSError where it could not be had or written.
        """

    async def store(self, path: Path, holder: str) -> tuple[str, int]:
        """Store the file for `holder` (a job's id); its digest and size in bytes.

        Durable when it returns. OSError where it could not be stored; storing again is harmless.
        """


class Runtime(Protocol):
    """Starts, watches and stops gangs.

    What it is told and what it reports is about a *wanted state*: every method may be repeated and
    changes nothing the second time. It outlives nothing in memory: after a crash at any moment,
    `open` of a new instance finds every gang that was started, none is started twice, and each
    replica has exactly one end.
    """

    @property
    def features(self) -> frozenset[Feature]:
        """What it can do beyond commands, files and logs."""

    async def open(self) -> None:
        """Find what is there: gangs that run, have ended, or whose start was cut short.

        A start that was cut short is finished; where it cannot be known how far it came, its
        replicas are told as lost. Returns when `names` and `watch` know everything.
        """

    async def close(self) -> None:
        """Let go. Gangs go on running, unwatched; iterators of `watch` end."""

    async def start(self, gang: Gang, placement: Placement) -> None:
        """Start every replica of the placement.

        Idempotent by name: a gang that is known, running or ended, is left as it is (a start cut
        short is finished). Returns when the gang is known durably and its start is under way; how
        it goes, bad commands and missing files included, is told by `watch`. Raises ValueError for
        a placement that names a role or node that does not exist.
        """

    async def resize(self, name: str, role: str, assignments: Placement) -> None:
        """Make `assignments` the full set of the role's replicas that should be there.

        New indices are started, missing ones are ended (with the gang's usual grace, as CANCELLED).
        An index that has ended is not started again: growth takes indices never used before.
        In a colocated role the process on the node is told, and reports each end; see
        `gridloom.worker.supervisor`. Unknown gang: GangNotFoundError. Of a
        gang that has ended or is to, what is new is reported as ended (CANCELLED) without a start.
        """

    async def stop(self, name: str, grace_s: float, reason: str) -> None:
        """Ask every replica to end: SIGTERM, and SIGKILL to what is left after `grace_s`.

        Kept durably: it holds even if this process dies before the replicas are told, and also
        against a start that is still under way. The first reason stays; a later call can only
        shorten the grace. Unknown gang: GangNotFoundError. Ended gang: nothing happens.
        """

    async def forget(self, name: str) -> None:
        """Remove every trace of an ended gang, logs included. Unknown: nothing happens.

        Raises GangActiveError while a replica has not ended. For whoever has committed the end.
        """

    async def names(self) -> frozenset[str]:
        """The gangs that are known: started and not forgotten."""

    def watch(self) -> AsyncIterator[ReplicaStatus]:
        """The present status of every replica of every known gang, then each change.

        A reader that lags sees the newest status of a replica, not each one between. An ENDED
        status comes once the outputs are stored, and is the replica's last.
        """

    async def logs(
        self,
        name: str,
        role: str,
        index: int,
        stream: LogStream,
        offset: int = 0,
        limit: int = 65536,
        wait_s: float = 0.0,
    ) -> LogChunk:
        """Up to `limit` bytes of a replica's stream from `offset` on; a negative one: from the end.

        With `wait_s`, waits that long at most until there is something or the process is over.
        Of replicas that share a process each index gives the shared stream. GangNotFoundError
        for what is unknown or forgotten.
        """

    async def keep_logs(self, name: str, destination: Path) -> Mapping[str, StoredStream]:
        """Hand over the logs of an ended gang, for keeping after `forget`.

        `<role>.<index>.stdout` and `.stderr`, one pair for each `log_index`; empty streams are left
        out. Each is a file of that name in the folder, which `streams.read_stream` reads at the
        offsets that `logs` had, or it lies in the object store and is returned by that name. Files
        may be moved rather than copied: afterwards `logs` may find nothing. Idempotent: it
        completes what an earlier call began.
        """

    def exec(
        self,
        name: str,
        role: str,
        index: int,
        command: tuple[str, ...],
        stdin: AsyncIterator[bytes],
    ) -> AsyncGenerator[ExecChunk, None]:
        """Run a command beside a running replica: its environment, its working folder.

        The end of `stdin` closes the command's standard input. Closing the iterator, the end of
        the replica, and the end of this process end the command with all its descendants.
        GangNotFoundError where no such replica is running.
        """

    async def capacity(self) -> tuple[NodeCapacity, ...]:
        """The nodes as they are now, in a stable order."""

    async def capacity_changed(self) -> None:
        """Return when `capacity` may give something else than it last gave; it may never be so."""
