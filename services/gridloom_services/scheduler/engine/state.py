"""The engine's state and one handler per event. Nothing else changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.common.values import dataclass
from gridloom_services.scheduler.engine import events
from gridloom_services.scheduler.engine.accounts import QueueTable
from gridloom_services.scheduler.engine.allocations import EntryTable, Gang, picks_of
from gridloom_services.scheduler.engine.classes import ClassTable
from gridloom_services.scheduler.engine.columns import Resources
from gridloom_services.scheduler.engine.elastic import Growth
from gridloom_services.scheduler.engine.errors import EngineError
from gridloom_services.scheduler.engine.jobs import JobTable
from gridloom_services.scheduler.engine.nodes import NodeTable
from gridloom_services.scheduler.engine.runs import Runs, grouped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gridloom_services.scheduler.engine.allocations import Pick
    from gridloom_services.scheduler.engine.classes import Shape

MAX_PRIORITY = 2**31
MAX_SEQUENCE = 2**60
MAX_TIME_LIMIT_S = 2**40
MAX_ELEMENTS = 2**31


@dataclass(frozen=True, slots=True)
class Held:
    """A promise as it is kept: to one element of a job, on these nodes."""

    element: int
    start: int
    picks: list[Pick]
    placement: tuple[events.Assignment, ...]


class State:
    """Everything that decides. A handler checks first and changes then."""

    def __init__(self) -> None:
        self.resources = Resources()
        for name in ("cpu", "memory"):
            self.resources.number(name)
        self.nodes = NodeTable(self.resources)
        self.queues = QueueTable(self.resources)
        self.classes = ClassTable(self.resources, self.nodes)
        self.jobs = JobTable()
        self.entries = EntryTable(self.resources)
        self.gangs: dict[tuple[int, int], Gang] = {}
        self.promises: dict[int, Held] = {}
        self.growth = Growth(self.jobs, self.classes)
        self._handlers = self._table()

    def apply(self, event: events.Event) -> None:
        """Take over one event."""
        self._handlers[type(event)](event)

    def apply_all(self, log: Iterable[events.Event]) -> None:
        """Take over events in order."""
        handlers = self._handlers
        for event in log:
            handlers[type(event)](event)

    def shape(self, row: int) -> Shape:
        """What the gang of a job asks for."""
        return self.classes.shape(self.jobs.klass[row])

    # Nodes and queues

    def _node_removed(self, event: events.NodeRemoved) -> None:
        self.nodes.remove(event.name)

    def _queue_set(self, event: events.QueueSet) -> None:
        known = self.queues.rows.get(event.queue)
        before = 0 if known is None else self.queues.priority[known]
        row = self.queues.set(event)
        if event.priority != before:
            self.jobs.raise_priority(row, event.priority - before)

    def _project_set(self, event: events.ProjectSet) -> None:
        self.queues.set_project(event)

    def _queue_removed(self, event: events.QueueRemoved) -> None:
        self.queues.remove(event.queue)

    # What waits

    def _job_submitted(self, event: events.JobSubmitted) -> None:
        jobs, queues = self.jobs, self.queues
        if event.job in jobs.rows:
            raise EngineError(f"job {event.job!r} is here already")
        _check_ranges(event)
        queue = queues.row(event.queue)
        plain = event.elements == 1 and event.waiting is None
        waiting = None if plain else _waiting_runs(event)
        row = jobs.add(event.job, self.classes.acquire(event.roles, event.selector))
        jobs.queue[row] = queue
        jobs.priority[row] = event.priority + queues.priority[queue]
        jobs.sequence[row] = event.sequence
        jobs.limit[row] = event.time_limit_s
        jobs.max_parallel[row] = event.max_parallel
        if waiting is not None and event.elements > 1:
            jobs.runs[row], jobs.sizes[row] = waiting, event.elements
        jobs.pending[row] = 1 if waiting is None else len(waiting)
        queues.queued[queue] += jobs.pending[row]
        queues.jobs[queue] += 1

    def _job_withdrawn(self, event: events.JobWithdrawn) -> None:
        row = self.jobs.row(event.job)
        self._drop_promise(row)
        self.queues.queued[self.jobs.queue[row]] -= self.jobs.pending[row]
        self.jobs.pending[row] = 0
        if row in self.jobs.runs:
            self.jobs.runs[row] = Runs()
        self._drop_if_done(row)

    def _elements_returned(self, event: events.ElementsReturned) -> None:
        jobs = self.jobs
        row = jobs.row(event.job)
        size = jobs.sizes.get(row, 1)
        for element in event.elements:
            if not 0 <= element < size or (row, element) in self.gangs:
                raise EngineError(f"element {element} of {event.job!r} runs or does not exist")
        added = jobs.give_elements(row, grouped(event.elements))
        self.queues.queued[jobs.queue[row]] += added

    def _elements_withdrawn(self, event: events.ElementsWithdrawn) -> None:
        row = self.jobs.row(event.job)
        held = self.promises.get(row)
        if held is not None and held.element in event.elements:
            self._drop_promise(row)
        taken = sum(self.jobs.take_element(row, element) for element in event.elements)
        self.queues.queued[self.jobs.queue[row]] -= taken
        self._drop_if_done(row)

    # What runs

    def _started(self, event: events.Started) -> None:
        jobs = self.jobs
        row = jobs.row(event.job)
        if not jobs.waits(row, event.element):
            raise EngineError(f"element {event.element} of {event.job!r} does not wait")
        shape = self.shape(row)
        picks = picks_of(event.placement, shape, self.nodes)
        held = self.promises.get(row)
        if held is not None and held.element == event.element:
            self._drop_promise(row)
        jobs.take_element(row, event.element)
        jobs.running[row] += 1
        queue = jobs.queue[row]
        self.queues.queued[queue] -= 1
        self.queues.running[queue] += 1
        gang = self.gangs[row, event.element] = Gang(event.at + jobs.limit[row])
        self._occupy(row, gang, picks, shape)
        if shape.elastic:
            self.growth.begin(row, event.element, gang, event.placement)

    def _grown(self, event: events.Grown) -> None:
        row, gang = self._gang(event.job, event.element)
        shape = self.shape(row)
        role = self.growth.role(gang, shape, event.role)
        picks = picks_of(event.placement, shape, self.nodes)
        self._occupy(row, gang, picks, shape)
        self.growth.grow(row, event.element, gang, role, event.placement)

    def _ended(self, event: events.Ended) -> None:
        row, gang = self._gang(event.job, event.element)
        del self.gangs[row, event.element]
        queue = self.jobs.queue[row]
        for entry in gang.entries:
            self._free(entry, queue, self.entries.count[entry])
        self.growth.end(gang)
        self.jobs.running[row] -= 1
        self.queues.running[queue] -= 1
        self._drop_if_done(row)

    def _replicas_ended(self, event: events.ReplicasEnded) -> None:
        row, gang = self._gang(event.job, event.element)
        position = self.shape(row).position(event.role)
        node = self.nodes.rows.get(event.node, -1)
        left = len(event.indices)
        here = [e for e in gang.entries if self._is_at(e, node, position)]
        if sum(self.entries.count[e] for e in here) < left:
            raise EngineError(f"fewer than {left} of {event.role!r} run on {event.node!r}")
        for entry in here:
            count = min(left, self.entries.count[entry])
            left -= count
            if count == self.entries.count[entry]:
                gang.entries.remove(entry)
            self._free(entry, self.jobs.queue[row], count)
        self.growth.shrink(row, event.element, gang, position, event.indices)

    def _resize_requested(self, event: events.ResizeRequested) -> None:
        row, gang = self._gang(event.job, event.element)
        role = self.growth.role(gang, self.shape(row), event.role)
        self.growth.resize(row, event.element, gang, role, event.replicas, event.sequence)

    # Promises

    def _promised(self, event: events.Promised) -> None:
        row = self.jobs.row(event.job)
        if not self.jobs.waits(row, event.element):
            raise EngineError(f"element {event.element} of {event.job!r} does not wait")
        picks = picks_of(event.placement, self.shape(row), self.nodes)
        self._drop_promise(row)
        for node, _, _ in picks:
            self.nodes.hold(node)
        self.promises[row] = Held(event.element, event.start, picks, event.placement)

    def _promise_dropped(self, event: events.PromiseDropped) -> None:
        row = self.jobs.row(event.job)
        held = self.promises.get(row)
        if held is None or held.element != event.element:
            raise EngineError(f"element {event.element} of {event.job!r} has no promise")
        self._drop_promise(row)

    # Parts of the above

    def _table(self) -> dict[type, Callable[..., None]]:
        return {
            events.NodeSet: self.nodes.set,
            events.NodeRemoved: self._node_removed,
            events.ProjectSet: self._project_set,
            events.QueueSet: self._queue_set,
            events.QueueRemoved: self._queue_removed,
            events.JobSubmitted: self._job_submitted,
            events.JobWithdrawn: self._job_withdrawn,
            events.ElementsReturned: self._elements_returned,
            events.ElementsWithdrawn: self._elements_withdrawn,
            events.Started: self._started,
            events.Grown: self._grown,
            events.Promised: self._promised,
            events.PromiseDropped: self._promise_dropped,
            events.Ended: self._ended,
            events.ReplicasEnded: self._replicas_ended,
            events.ResizeRequested: self._resize_requested,
        }

    def _gang(self, job: str, element: int) -> tuple[int, Gang]:
        row = self.jobs.row(job)
        gang = self.gangs.get((row, element))
        if gang is None:
            raise EngineError(f"element {element} of {job!r} does not run")
        return row, gang

    def _occupy(self, row: int, gang: Gang, picks: list[Pick], shape: Shape) -> None:
        free = self.nodes.free.views
        used = self.queues.used.views
        queue = self.jobs.queue[row]
        for pick in picks:
            node, role, count = pick
            need = shape.roles[role].need
            gang.entries.append(self.entries.add(row, pick, need, gang.end))
            self.nodes.hold(node)
            for number, amount in need:
                free[number][node] -= amount * count
                used[number][queue] += amount * count

    def _free(self, entry: int, queue: int, count: int) -> None:
        entries, free, used = self.entries, self.nodes.free.views, self.queues.used.views
        node, had = entries.node[entry], entries.count[entry]
        for number, column in enumerate(entries.amounts.views):
            amount = column[entry]
            if amount:
                amount = amount if count == had else amount // had * count
                column[entry] -= amount
                free[number][node] += amount
                used[number][queue] -= amount
        entries.count[entry] = had - count
        if count == had:
            entries.give_cleared(entry)
            self.nodes.release(node)

    def _is_at(self, entry: int, node: int, role: int) -> bool:
        return self.entries.node[entry] == node and self.entries.role[entry] == role

    def _drop_promise(self, row: int) -> None:
        held = self.promises.pop(row, None)
        if held is not None:
            for node, _, _ in held.picks:
                self.nodes.release(node)

    def _drop_if_done(self, row: int) -> None:
        if self.jobs.pending[row] or self.jobs.running[row]:
            return
        queue, klass = self.jobs.queue[row], self.jobs.klass[row]
        self.jobs.drop(row)
        self.classes.release(klass)
        self.queues.release(queue)


def _check_ranges(event: events.JobSubmitted) -> None:
    if (
        -MAX_PRIORITY <= event.priority <= MAX_PRIORITY
        and 0 <= event.sequence <= MAX_SEQUENCE
        and 1 <= event.time_limit_s <= MAX_TIME_LIMIT_S
        and 1 <= event.elements <= MAX_ELEMENTS
        and 0 <= event.max_parallel <= MAX_ELEMENTS
    ):
        return
    raise EngineError(
        f"job {event.job!r}: allowed are a priority of at most {MAX_PRIORITY} either way, a"
        f" sequence of 0 to {MAX_SEQUENCE}, a time limit of 1 to {MAX_TIME_LIMIT_S} s, 1 to"
        f" {MAX_ELEMENTS} elements and at most so many at once"
    )


def _waiting_runs(event: events.JobSubmitted) -> Runs:
    runs = event.waiting
    if runs is None:
        return Runs(((0, event.elements),))
    for first, count in runs:
        if first < 0 or count < 1 or first + count > event.elements:
            raise EngineError(f"job {event.job!r}: run {(first, count)} of {event.elements}")
    if not runs:
        raise EngineError(f"job {event.job!r}: no element of it waits")
    return Runs(runs)
