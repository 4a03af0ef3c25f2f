"""What the engine says: decisions of a plan and answers about jobs, nodes and queues."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING

from gridloom_services.common.values import dataclass
from gridloom_services.scheduler.engine.events import (
    Assignment,
    Grown,
    Promised,
    PromiseDropped,
    Started,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "Assignment",
    "Decisions",
    "DropPromise",
    "Explanation",
    "Grow",
    "JobState",
    "Misfit",
    "NodeState",
    "Part",
    "Promise",
    "QueueState",
    "Reason",
    "Snapshot",
    "Start",
    "Wanted",
]


@dataclass(frozen=True, slots=True)
class Start:
    """Start this element's gang, whole, on these nodes."""

    job: str
    element: int
    placement: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class Grow:
    """Add these replicas of one role to an element that runs."""

    job: str
    element: int
    role: str
    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class Promise:
    """Record that this element starts at `start` or earlier; replaces an earlier such promise."""

    job: str
    element: int
    start: int
    placement: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class DropPromise:
    """Record that the promise to this element is void."""

    job: str
    element: int


@dataclass(frozen=True, slots=True)
class Decisions:
    """What one plan decided. Nothing of it is true before its event was applied.

    No placement of it needs room that only another decision of the same plan would free.
    `truncated` says that there may be more to decide once these are applied: the bound on starts
    was reached, or a gang starts whose elastic roles will then ask for more. Plan again at once.
    """

    starts: tuple[Start, ...] = ()
    grows: tuple[Grow, ...] = ()
    promises: tuple[Promise, ...] = ()
    drops: tuple[DropPromise, ...] = ()
    truncated: bool = False

    def __bool__(self) -> bool:
        """True where there is anything to do."""
        return bool(self.starts or self.grows or self.promises or self.drops)

    def events(self, at: int) -> Iterator[Started | Grown | Promised | PromiseDropped]:
        """The events that make these decisions true at the time `at`, in the order to apply."""
        for drop in self.drops:
            yield PromiseDropped(drop.job, drop.element)
        for start in self.starts:
            yield Started(start.job, start.element, start.placement, at)
        for grow in self.grows:
            yield Grown(grow.job, grow.element, grow.role, grow.assignments, at)
        for promise in self.promises:
            yield Promised(promise.job, promise.element, promise.start, promise.placement)


class Reason(StrEnum):
    """Why a job waits, as far as the engine knows; the values are the protocol's short names."""

    NONE = "NONE"
    QUEUE_CLOSED = "QUEUE_CLOSED"
    QUEUE_QUOTA = "QUEUE_QUOTA"
    PROJECT_QUOTA = "PROJECT_QUOTA"
    ARRAY_LIMIT = "ARRAY_LIMIT"
    RESOURCES = "RESOURCES"
    PRIORITY = "PRIORITY"
    NODES_TOO_SMALL = "NODES_TOO_SMALL"
    NEXT_CYCLE = "NEXT_CYCLE"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job waits.

    `resource` is the one that is short ("" where none is), `asked` and `available` its amounts: of
    the whole gang and all its nodes, or of one replica and the best node, whichever is the
    obstacle; for a quota, what the gang asks and what the queue has left. `ahead` are the first
    jobs (at most 100) of its queue that come before it, in order, `ahead_count` how many there are.
    `spares_devices`: there are nodes with devices, which are kept for those who ask for some.
    """

    reason: Reason
    resource: str = ""
    asked: int = 0
    available: int = 0
    ahead: tuple[str, ...] = ()
    ahead_count: int = 0
    promised_start: int | None = None
    spares_devices: bool = False


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why no set of nodes that are here could ever hold a gang.

    Where one replica is too large, `asked` is what it asks of `resource` and `largest` the most
    that one node has; else `asked` is the sum over the role and `largest` that of as many replicas
    as the nodes hold. `resource` is "" where no node carries the selector's labels, and where each
    role would fit but not all of them together; `asked` is then a number of replicas.
    """

    role: str
    resource: str
    asked: int
    largest: int


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as the engine accounts for it; `free` is negative where capacity was taken away."""

    name: str
    capacity: Mapping[str, int]
    free: Mapping[str, int]
    labels: Mapping[str, str] = field(default_factory=dict)
    schedulable: bool = True


@dataclass(frozen=True, slots=True)
class QueueState:
    """What a queue's running work holds, and how many of its elements wait and run."""

    used: Mapping[str, int]
    queued: int
    running: int
    priority: int = 0
    quota: Mapping[str, int] = field(default_factory=dict)
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What a running element holds of one role on one node, until `end` at the latest."""

    element: int
    role: str
    node: str
    count: int
    end: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Replicas of one role that a running element still asks for."""

    element: int
    role: str
    sequence: int
    count: int


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as the engine knows it; `priority` is the effective one, `waiting` are runs."""

    queue: str
    priority: int
    sequence: int
    time_limit_s: int
    max_parallel: int
    waiting: tuple[tuple[int, int], ...]
    running: tuple[Part, ...]
    wanted: tuple[Wanted, ...]
    promise: Promise | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that decides but what jobs ask for: engines that lived alike have equal ones."""

    nodes: tuple[NodeState, ...]
    queues: Mapping[str, QueueState]
    jobs: Mapping[str, JobState]
