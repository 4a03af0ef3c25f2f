"""The engine's rules as slow, plain code: what is free is summed anew for every question.

Nothing is shared with the engine but its events and decisions. Where the engine scans columns, this
loops over nodes; where the engine passes once over releases, this tries every point in time; where
the engine keeps layers and memos, this asks again. Both must decide the same.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gridloom_services.scheduler.engine.decisions import Promise

from tests.unit.scheduler.engine.reference_plan import ReferencePlan, gang_of

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine import events as ev


@dataclass
class Run:
    """An element that runs: its parts count replicas by (role, node)."""

    job: str
    element: int
    end: int
    queue: str
    parts: Counter
    indices: dict[str, set[int]] = field(default_factory=dict)
    wanted: dict[str, int] = field(default_factory=dict)
    requests: dict[str, dict[int, int]] = field(default_factory=dict)


@dataclass
class Job:
    event: ev.JobSubmitted
    waiting: set[int]
    promise: Promise | None = None


class Reference:
    def __init__(self, *, reservations=1, spare_devices=True):
        self.reservations = reservations
        self.spare_devices = spare_devices
        self.nodes: dict[str, ev.NodeSet] = {}
        self.queues: dict[str, ev.QueueSet] = {}
        self.removed: set[str] = set()
        self.jobs: dict[str, Job] = {}
        self.runs: dict[tuple[str, int], Run] = {}

    # Events

    def apply(self, event):
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
        getattr(self, f"on_{name}")(event)
        for job in list(self.jobs):
            if not self.jobs[job].waiting and not any(run.job == job for run in self.runs.values()):
                del self.jobs[job]

    def on_node_set(self, event):
        self.nodes[event.name] = event

    def on_node_removed(self, event):
        del self.nodes[event.name]

    def on_queue_set(self, event):
        self.queues[event.queue] = event
        self.removed.discard(event.queue)

    def on_queue_removed(self, event):
        self.removed.add(event.queue)

    def on_job_submitted(self, event):
        runs = event.waiting if event.waiting is not None else ((0, event.elements),)
        waiting = {first + i for first, count in runs for i in range(count)}
        self.jobs[event.job] = Job(event, waiting)

    def on_job_withdrawn(self, event):
        self.jobs[event.job].waiting.clear()
        self.jobs[event.job].promise = None

    def on_elements_returned(self, event):
        self.jobs[event.job].waiting.update(event.elements)

    def on_elements_withdrawn(self, event):
        job = self.jobs[event.job]
        job.waiting.difference_update(event.elements)
        if job.promise and job.promise.element in event.elements:
            job.promise = None

    def on_started(self, event):
        job = self.jobs[event.job]
        job.waiting.remove(event.element)
        if job.promise and job.promise.element == event.element:
            job.promise = None
        parts = Counter((a.role, a.node) for a in event.placement)
        end = event.at + job.event.time_limit_s
        run = Run(event.job, event.element, end, job.event.queue, parts)
        self.runs[event.job, event.element] = run
        for role in job.event.roles:
            if gang_of(role) < role.replicas:
                run.indices[role.name] = {a.index for a in event.placement if a.role == role.name}
                run.wanted[role.name] = role.replicas
                run.requests[role.name] = {}
                self.balance(run, role.name, job.event.sequence)

    def on_grown(self, event):
        run = self.runs[event.job, event.element]
        run.parts.update((event.role, a.node) for a in event.placement)
        run.indices[event.role] |= {a.index for a in event.placement}
        self.balance(run, event.role, self.jobs[event.job].event.sequence, oldest=True)

    def on_promised(self, event):
        self.jobs[event.job].promise = Promise(
            event.job, event.element, event.start, event.placement
        )

    def on_promise_dropped(self, event):
        self.jobs[event.job].promise = None

    def on_ended(self, event):
        del self.runs[event.job, event.element]

    def on_replicas_ended(self, event):
        run = self.runs[event.job, event.element]
        run.parts[event.role, event.node] -= len(event.indices)
        if event.role in run.wanted:
            run.indices[event.role] -= set(event.indices)
            self.balance(run, event.role, self.jobs[event.job].event.sequence)

    def on_resize_requested(self, event):
        run = self.runs[event.job, event.element]
        run.wanted[event.role] = event.replicas
        self.balance(run, event.role, event.sequence)

    @staticmethod
    def balance(run, role, sequence, *, oldest=False):
        requests = run.requests[role]
        lacking = max(0, run.wanted[role] - len(run.indices[role]))
        asked = sum(requests.values())
        if lacking > asked:
            requests[sequence] = requests.get(sequence, 0) + lacking - asked
        while lacking < asked:
            which = min(requests) if oldest else max(requests)
            requests[which] -= 1
            asked -= 1
            if not requests[which]:
                del requests[which]

    # Planning

    def plan(self, now, max_starts=1000):
        return ReferencePlan(self, now, max_starts).decide()

    def needs(self, job):
        return {role.name: Counter(role.resources) for role in self.jobs[job].event.roles}

    def priority(self, job):
        event = self.jobs[job].event
        return event.priority + self.queues[event.queue].priority

    def closed(self, queue):
        return queue in self.removed or self.queues[queue].closed
