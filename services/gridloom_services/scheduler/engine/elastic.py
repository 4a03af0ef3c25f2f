"""Elastic roles: replicas beyond the gang come singly, each in its request's turn, and go singly.

A request for more is a row among the waiting jobs (`jobs.GROWTH`); a role has one for each time
that it asked. What a role still asks for is always its wanted number less what it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.scheduler.engine.allocations import Elastic
from gridloom_services.scheduler.engine.errors import EngineError
from gridloom_services.scheduler.engine.events import MAX_REPLICAS
from gridloom_services.scheduler.engine.jobs import Parent

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine.allocations import Gang
    from gridloom_services.scheduler.engine.classes import ClassTable, Shape
    from gridloom_services.scheduler.engine.events import Assignment
    from gridloom_services.scheduler.engine.jobs import JobTable


class Growth:
    """Keeps the requests of elastic roles in step with what they want and have."""

    def __init__(self, jobs: JobTable, classes: ClassTable) -> None:
        self._jobs = jobs
        self._classes = classes

    def role(self, gang: Gang, shape: Shape, name: str) -> int:
        """The position of an elastic role of a gang."""
        position = shape.position(name)
        if gang.elastic is None or position not in gang.elastic:
            raise EngineError(f"role {name!r} is not elastic")
        return position

    def begin(self, row: int, element: int, gang: Gang, placement: tuple[Assignment, ...]) -> None:
        """A gang started; what its elastic roles lack waits in the job's own place."""
        shape = self._classes.shape(self._jobs.klass[row])
        gang.elastic = {
            position: Elastic(role.wanted)
            for position, role in enumerate(shape.roles)
            if role.elastic
        }
        for position, elastic in gang.elastic.items():
            name = shape.roles[position].name
            elastic.used = {a.index for a in placement if a.role == name}
            self._balance(Parent(row, element, position), gang, self._jobs.sequence[row])

    def grow(
        self, row: int, element: int, gang: Gang, role: int, placement: tuple[Assignment, ...]
    ) -> None:
        """Replicas came: the oldest requests have been met."""
        elastic = _elastic(gang, role)
        elastic.used |= {assignment.index for assignment in placement}
        self._balance(Parent(row, element, role), gang, self._jobs.sequence[row], oldest=True)

    def shrink(
        self, row: int, element: int, gang: Gang, role: int, indices: tuple[int, ...]
    ) -> None:
        """Replicas ended: what is still wanted waits again, in the job's own place."""
        if gang.elastic is None or role not in gang.elastic:
            return
        gang.elastic[role].used -= set(indices)
        self._balance(Parent(row, element, role), gang, self._jobs.sequence[row])

    def resize(
        self, row: int, element: int, gang: Gang, role: int, replicas: int, sequence: int
    ) -> None:
        """Another number is wanted: more waits as a job of this sequence, less gives up newest."""
        if not 0 <= replicas <= MAX_REPLICAS:
            raise EngineError(f"{replicas} replicas; allowed: 0 to {MAX_REPLICAS}")
        _elastic(gang, role).wanted = replicas
        self._balance(Parent(row, element, role), gang, sequence)

    def end(self, gang: Gang) -> None:
        """A gang is over, and its requests with it."""
        for elastic in (gang.elastic or {}).values():
            for request in elastic.requests:
                self._drop(request)

    def _balance(self, parent: Parent, gang: Gang, sequence: int, *, oldest: bool = False) -> None:
        elastic = _elastic(gang, parent.role)
        asked = sum(self._jobs.pending[request] for request in elastic.requests)
        lacking = max(0, elastic.wanted - len(elastic.used))
        if lacking > asked:
            self._ask(parent, gang, sequence, lacking - asked)
        elif lacking < asked:
            self._give_up(elastic, asked - lacking, oldest=oldest)

    def _ask(self, parent: Parent, gang: Gang, sequence: int, count: int) -> None:
        jobs, requests = self._jobs, _elastic(gang, parent.role).requests
        same = [request for request in requests if jobs.sequence[request] == sequence]
        row = same[0] if same else self._add(parent, gang, sequence)
        if not same:
            requests.append(row)
            requests.sort(key=lambda request: jobs.sequence[request])
        jobs.pending[row] += count
        jobs.version += 1

    def _add(self, parent: Parent, gang: Gang, sequence: int) -> int:
        jobs = self._jobs
        shape = self._classes.shape(jobs.klass[parent.row])
        klass = self._classes.acquire_growth(shape.roles[parent.role], shape.selector)
        row = jobs.add_growth(parent, klass, gang.end)
        jobs.queue[row] = jobs.queue[parent.row]
        jobs.priority[row] = jobs.priority[parent.row]
        jobs.sequence[row] = sequence
        return row

    def _give_up(self, elastic: Elastic, count: int, *, oldest: bool) -> None:
        while count:
            request = elastic.requests[0 if oldest else -1]
            part = min(count, self._jobs.pending[request])
            self._jobs.pending[request] -= part
            count -= part
            if not self._jobs.pending[request]:
                elastic.requests.remove(request)
                self._drop(request)

    def _drop(self, request: int) -> None:
        klass = self._jobs.klass[request]
        self._jobs.drop(request)
        self._classes.release(klass)


def _elastic(gang: Gang, role: int) -> Elastic:
    if gang.elastic is None:
        raise EngineError("the gang has no elastic role")
    return gang.elastic[role]
