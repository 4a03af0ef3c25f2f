"""What happened: the only way to change the engine's state.

Events are frozen values. An engine that was given the same events decides the same as one that
lived through them; where the events of a log are condensed (a scheduler that restarts from its
store), any order that names queues, then nodes, jobs, starts, growths and promises will do: node
order, resource order and the order of submission never decide anything, names and `sequence` do.

Times are whole seconds of one clock of the caller's choice. Amounts are whole numbers by resource
name, at most `MAX_AMOUNT` each. A queue is the string "project/name". An element is a position
0..elements-1 of an array; a plain job is its element 0.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from gridloom_services.common.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_AMOUNT = 2**50
"""Largest amount of one resource of a node or a replica (of memory: a pebibyte)."""

MAX_REPLICAS = 2**20
"""Most replicas that one role may have."""

MAX_ROLES = 200
"""Most roles that one gang may have."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One replica and the node that it is placed on."""

    role: str
    index: int
    node: str


@dataclass(frozen=True, slots=True)
class RoleRequest:
    """One role of a gang: `resources` are asked by each replica.

    `min_replicas` of them start with the gang; 0 means all. The rest are asked for singly, in the
    job's own place in the queue, once its gang runs.

    With `per_node` a node takes so many of them or none (the last one the rest); of a role all of
    whose replicas are its gang.
    """

    name: str
    replicas: int
    min_replicas: int
    resources: Mapping[str, int]
    per_node: int = 0


@dataclass(frozen=True, slots=True)
class NodeSet:
    """A node came, or changed: this is all of it now. What runs there stays accounted for."""

    name: str
    capacity: Mapping[str, int]
    labels: Mapping[str, str] = field(default_factory=dict)
    schedulable: bool = True


@dataclass(frozen=True, slots=True)
class NodeRemoved:
    """A node left. What ran there counts against its queue until its own end is told."""

    name: str


@dataclass(frozen=True, slots=True)
class QueueSet:
    """A queue came, or changed: this is all of it now.

    `priority` is added to that of each of its jobs; `quota` bounds the sum of what its running
    work holds (a resource that is absent has no bound); a closed queue starts nothing.
    """

    queue: str
    priority: int = 0
    quota: Mapping[str, int] = field(default_factory=dict)
    closed: bool = False


@dataclass(frozen=True, slots=True)
class ProjectSet:
    """A project's quota came, changed, or (empty) went.

    `quota` bounds the sum of what the running work of all its queues holds, each of which stays
    within its own quota too. A queue's project is what stands before "/" in its name.
    """

    project: str
    quota: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueRemoved:
    """A queue left. Work of it that is still here is treated as in a closed queue."""

    queue: str


@dataclass(frozen=True, slots=True)
class JobSubmitted:
    """A job is eligible to start: dependencies, holds and back-offs are the caller's business.

    `sequence` is its age: unique among jobs and resize requests, lower is older. `elements` is the
    size of the array; `waiting` names the runs (first, count) of positions that may start, None for
    all. `max_parallel` bounds how many elements run at once (0: no bound). Only nodes that carry
    every label of `selector` are used. A job is known until no element of it waits or runs; after
    that (`Engine.knows`) a retry submits it again, with its old `sequence`.
    """

    job: str
    queue: str
    priority: int
    sequence: int
    roles: tuple[RoleRequest, ...]
    time_limit_s: int
    elements: int = 1
    max_parallel: int = 0
    selector: Mapping[str, str] = field(default_factory=dict)
    waiting: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class JobWithdrawn:
    """What waits of a job leaves (its promise too); elements that run stay until they end."""

    job: str


@dataclass(frozen=True, slots=True)
class ElementsReturned:
    """Elements of a known job that neither wait nor run are eligible again (retry, preemption)."""

    job: str
    elements: Sequence[int]


@dataclass(frozen=True, slots=True)
class ElementsWithdrawn:
    """Elements that wait leave; those named that do not wait are ignored."""

    job: str
    elements: Sequence[int]


@dataclass(frozen=True, slots=True)
class Started:
    """An element that waited runs from `at` on; its promise, if it had one, is used up.

    A node that is not known is taken as one without capacity, so that a restart can account for
    work on a node that is gone.
    """

    job: str
    element: int
    placement: tuple[Assignment, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Grown:
    """Replicas of a role joined an element that runs."""

    job: str
    element: int
    role: str
    placement: tuple[Assignment, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Promised:
    """An element that waits will start at `start` or earlier on these nodes.

    A job has one promise at most: this replaces the one that it had.
    """

    job: str
    element: int
    start: int
    placement: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class PromiseDropped:
    """The promise to an element is void."""

    job: str
    element: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An element that ran is over: everything that it held is free."""

    job: str
    element: int
    at: int


@dataclass(frozen=True, slots=True)
class ReplicasEnded:
    """Replicas of one role on one node are over while their gang goes on.

    Where fewer are left than the role's wanted number, the difference is asked for again: to
    shrink for good, send `ResizeRequested` first.
    """

    job: str
    element: int
    role: str
    node: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ResizeRequested:
    """The wanted number of a role's replicas in an element that runs.

    What it adds waits its turn as a job of that `sequence` would, replica by replica; what it takes
    away is only no longer asked for: the caller stops the surplus.
    """

    job: str
    role: str
    replicas: int
    sequence: int
    element: int = 0


Event = (
    NodeSet
    | NodeRemoved
    | ProjectSet
    | QueueSet
    | QueueRemoved
    | JobSubmitted
    | JobWithdrawn
    | ElementsReturned
    | ElementsWithdrawn
    | Started
    | Grown
    | Promised
    | PromiseDropped
    | Ended
    | ReplicasEnded
    | ResizeRequested
)
