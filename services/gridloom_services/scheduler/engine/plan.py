"""The plan: one walk over what waits, promises of each level of priority first.

On reaching a level of priority, the promises to its jobs are kept where they still can be, moved
earlier where there is room, and started where they are due. Promises to lower levels do not count
before their level is reached: a higher priority may break them. Then the level's rows have their
turns: one that fits beside all promises starts, one that does not is promised a start while there
are fewer promises than allowed.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from gridloom_services.scheduler.engine.decisions import (
    Assignment,
    Decisions,
    DropPromise,
    Grow,
    Promise,
    Start,
)
from gridloom_services.scheduler.engine.jobs import GROWTH
from gridloom_services.scheduler.engine.room import Room
from gridloom_services.scheduler.engine.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom_services.scheduler.engine.allocations import Pick
    from gridloom_services.scheduler.engine.columns import Ints
    from gridloom_services.scheduler.engine.jobs import Parent
    from gridloom_services.scheduler.engine.promises import Pledge
    from gridloom_services.scheduler.engine.reach import Reaches
    from gridloom_services.scheduler.engine.state import State

# When to filter what is left of the walk: once the visits that started nothing have cost about as
# much as filtering would. By counts, never by time, and no decision depends on it.
_SKIPS_A_SCAN = 32
_ROWS_A_SKIP = 64
_LEAST_PATIENCE = 512


class Plan:
    """One plan. Reads the state, keeps what it decides to itself."""

    def __init__(
        self, state: State, reaches: Reaches, reservations: int, now: int, max_starts: int
    ) -> None:
        self._state = state
        self._reaches = reaches
        self._reservations = reservations
        self._left = max_starts
        reaches.learn()
        self._room = Room(state, reaches, now)
        self._walk = Walk(self._eligible(state.jobs.order()))
        self._levels = self._promised_levels()
        self._starts: dict[tuple[int, int], Start] = {}
        self._running: dict[int, int] = {}
        self._grows: list[Grow] = []
        self._grown: dict[tuple[int, int, int], tuple[set[int], list[int]]] = {}
        self._promises: dict[int, Promise] = {}
        self._broken: list[int] = []
        self._fails_stop = False
        self._will_grow = False
        self._idle = 0
        self._patience = _LEAST_PATIENCE

    def decide(self) -> Decisions:
        """Walk, and say what was decided."""
        while self._left > 0 and (row := self._walk.next()) is not None:
            self._enter_levels(self._state.jobs.priority[row])
            if self._left > 0:
                self._visit(row)
            if self._idle >= self._patience or self._has_all_promises():
                self._filter()
        self._enter_levels(None)
        return Decisions(
            starts=tuple(self._starts.values()),
            grows=tuple(self._grows),
            promises=tuple(self._promises.values()),
            drops=tuple(self._drops()),
            truncated=self._left <= 0 or self._will_grow,
        )

    # What is worth a visit

    def _eligible(self, rows: Ints) -> Ints:
        jobs, queues = self._state.jobs, self._state.queues
        fits = jobs.array("pending")[rows] > 0
        fits &= (queues.array("closed") == 0)[jobs.array("queue")[rows]]
        most = jobs.array("max_parallel")[rows]
        fits &= (most == 0) | (jobs.array("running")[rows] < most)
        fits &= ~self._reaches.known_never()[jobs.array("klass")[rows]]
        rows = rows[fits]
        return self._room.affordable(rows)

    def _has_all_promises(self) -> bool:
        """Whether now is the first time that no further promise can be made."""
        return not self._fails_stop and not self._can_promise()

    def _filter(self) -> None:
        self._walk.filter(self._room.affordable)
        if self._has_all_promises():
            self._fails_stop = True
            self._room.focus(self._walk.rows)
        if self._fails_stop:
            # Until all promises are made, a row that fails may still be promised a start.
            self._walk.filter(self._room.hopeful)
        self._idle = 0
        self._patience = _LEAST_PATIENCE + self._walk.rows.size // _ROWS_A_SKIP

    # Promises that were made before

    def _promised_levels(self) -> list[tuple[int, list[int]]]:
        """Rows with a promise by priority, the highest last; in a level by start, then age."""
        jobs, promises = self._state.jobs, self._state.promises
        levels: dict[int, list[int]] = {}
        for row in sorted(promises, key=lambda row: (promises[row].start, jobs.sequence[row])):
            levels.setdefault(jobs.priority[row], []).append(row)
        return sorted(levels.items())

    def _enter_levels(self, down_to: int | None) -> None:
        while self._left > 0 and self._levels:
            if down_to is not None and self._levels[-1][0] < down_to:
                return
            _, rows = self._levels.pop()
            kept = [pledge for row in rows if (pledge := self._keep(row)) is not None]
            for pledge in kept:
                if self._left > 0:
                    self._advance(pledge)

    def _keep(self, row: int) -> Pledge | None:
        pledge = None
        if self._can_promise() and self._may_start(row):
            pledge = self._room.keep(row, self._state.promises[row])
        if pledge is None:
            self._broken.append(row)
        return pledge

    def _advance(self, pledge: Pledge) -> None:
        now = self._room.now
        if pledge.start > now:
            better = self._room.improve(pledge)
            if better is None:
                return
            pledge = better
            placement = self._placement(pledge.row, pledge.picks)
        else:
            placement = self._state.promises[pledge.row].placement
        if pledge.start > now:
            self._promise(pledge, placement)
        else:
            self._room.drop(pledge)
            self._start(pledge.row, pledge.element, pledge.picks, placement)

    # Turns

    def _visit(self, row: int) -> None:
        if self._fails_stop and self._room.fails(row):
            self._idle += 1
        elif self._state.jobs.kind[row] == GROWTH:
            self._visit_growth(row)
        elif self._room.pledges.of(row) is None:
            self._visit_job(row)

    def _visit_job(self, row: int) -> None:
        for element in self._state.jobs.elements(row):
            if (row, element) in self._starts:
                continue
            if self._left <= 0 or not self._may_start(row) or not self._room.allows(row):
                self._idle += 1
                return
            picks = self._room.find(row)
            if picks is None:
                self._idle += _SKIPS_A_SCAN
                self._ask_promise(row, element)
                return
            self._start(row, element, picks, self._placement(row, picks))

    def _ask_promise(self, row: int, element: int) -> None:
        if not self._can_promise():
            return
        pledge = self._room.promise(row, element)
        if pledge is not None:
            self._promise(pledge, self._placement(row, pledge.picks))

    def _visit_growth(self, row: int) -> None:
        parent = self._state.jobs.parents[row]
        key = (parent.row, parent.element, parent.role)
        used, nodes = self._grown.get(key) or self._gang_of(parent)
        assignments: list[Assignment] = []
        name = self._state.shape(parent.row).roles[parent.role].name
        for _ in range(min(self._state.jobs.pending[row], self._left)):
            picks = self._room.find(row, nodes) if self._room.allows(row) else None
            if picks is None:
                break
            self._room.start(row, picks)
            node = picks[0][0]
            index = next(free for free in count() if free not in used)
            used.add(index)
            nodes.append(node)
            assignments.append(Assignment(name, index, self._state.nodes.names[node]))
        if assignments:
            self._left -= len(assignments)
            self._grown[key] = (used, nodes)
            job = self._state.jobs.ids[row]
            self._grows.append(Grow(job, parent.element, name, tuple(assignments)))

    # Parts of the above

    def _can_promise(self) -> bool:
        return len(self._room.pledges) < self._reservations

    def _may_start(self, row: int) -> bool:
        jobs = self._state.jobs
        if self._state.queues.closed[jobs.queue[row]]:
            return False
        most = jobs.max_parallel[row]
        return not most or jobs.running[row] + self._running.get(row, 0) < most

    def _start(
        self, row: int, element: int, picks: list[Pick], placement: tuple[Assignment, ...]
    ) -> None:
        self._room.start(row, picks)
        self._starts[row, element] = Start(self._state.jobs.ids[row], element, placement)
        self._running[row] = self._running.get(row, 0) + 1
        self._will_grow = self._will_grow or self._state.shape(row).elastic
        self._left -= 1

    def _promise(self, pledge: Pledge, placement: tuple[Assignment, ...]) -> None:
        job = self._state.jobs.ids[pledge.row]
        self._promises[pledge.row] = Promise(job, pledge.element, pledge.start, placement)

    def _drops(self) -> Iterator[DropPromise]:
        for row in self._broken:
            job, element = self._state.jobs.ids[row], self._state.promises[row].element
            renewed = self._promises.get(row)
            is_renewed = renewed is not None and renewed.element == element
            if not is_renewed and (row, element) not in self._starts:
                yield DropPromise(job, element)

    def _placement(self, row: int, picks: list[Pick]) -> tuple[Assignment, ...]:
        names = self._state.nodes.names
        placement = []
        for position, role in enumerate(self._state.shape(row).roles):
            index = 0
            places = sorted((names[n], held) for n, at, held in picks if at == position)
            for node, held in places:
                placement += [Assignment(role.name, index + i, node) for i in range(held)]
                index += held
        return tuple(placement)

    def _gang_of(self, parent: Parent) -> tuple[set[int], list[int]]:
        gang = self._state.gangs[parent.row, parent.element]
        used = set(gang.elastic[parent.role].used) if gang.elastic else set()
        node = self._state.entries.node
        return used, list(dict.fromkeys(node[entry] for entry in gang.entries))
