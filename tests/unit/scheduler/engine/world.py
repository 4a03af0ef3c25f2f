"""A small random cluster in which an engine and the reference live the same life."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from gridloom_services.scheduler.engine import Engine
from gridloom_services.scheduler.engine import events as ev

from tests.unit.scheduler.engine.reference import Reference
from tests.unit.scheduler.engine.reference_plan import ReferencePlan

NODE_KINDS = (
    ({"cpu": 4, "memory": 8}, {"zone": "a"}),
    ({"cpu": 8, "memory": 8}, {"zone": "b"}),
    ({"cpu": 8, "memory": 16, "x.io/gpu": 4}, {"zone": "a", "kind": "gpu"}),
    ({"cpu": 6, "memory": 6, "licence": 2}, {"zone": "b"}),
)
REPLICAS = (1, 1, 1, 2, 3, 5)


class World:
    """Random events and plans. `rng` decides everything, so that a failure can be repeated."""

    def __init__(self, rng, *, reservations, roles=2, elastic=True, churn=True):
        self.rng = rng
        self.churn = churn
        self.roles = roles
        self.elastic = elastic
        self.options = {"reservations": reservations, "spare_devices": rng.random() < 0.8}
        self.engine = Engine(**self.options)
        self.reference = Reference(**self.options)
        self.log = []
        self.now = 100
        self.sequence = 0
        for number in range(rng.randint(1, 6)):
            self.set_node(f"n{number}")
        for number in range(rng.randint(1, 3)):
            self.set_queue(f"p/q{number}")

    def tell(self, event):
        self.log.append(event)
        self.engine.apply(event)
        self.reference.apply(event)

    def next_sequence(self):
        self.sequence += 1
        return self.sequence

    # Random events

    def step(self):
        """Some time passes and some things happen."""
        self.now += self.rng.choice((0, 1, 2, 5, 10, 20))
        for _ in range(self.rng.randint(0, 4)):
            self.submit()
        for key in list(self.reference.runs):
            run = self.reference.runs[key]
            over = run.end <= self.now and self.rng.random() < 0.85
            if over or self.rng.random() < 0.1:
                self.end(key)
        for _ in range(self.rng.randint(0, 2)):
            self.rng.choice(
                (self.withdraw, self.give_back, self.take_back, self.resize, self.lose_replicas)
            )()
        if self.churn and self.rng.random() < 0.15:
            self.rng.choice((self.change_node, self.change_queue))()

    def set_node(self, name):
        capacity, labels = self.rng.choice(NODE_KINDS)
        self.tell(ev.NodeSet(name, capacity, labels, schedulable=self.rng.random() < 0.9))

    def set_queue(self, name):
        quota = {}
        if self.rng.random() < 0.5:
            quota = {"cpu": self.rng.randint(2, 20)}
        if self.rng.random() < 0.2:
            quota["x.io/gpu"] = self.rng.randint(0, 4)
        closed = self.rng.random() < 0.05
        self.tell(ev.QueueSet(name, self.rng.choice((0, 0, 1)), quota, closed))

    def change_node(self):
        name = f"n{self.rng.randint(0, 6)}"
        if name in self.reference.nodes and self.rng.random() < 0.3:
            self.tell(ev.NodeRemoved(name))
        else:
            self.set_node(name)

    def change_queue(self):
        name = self.rng.choice(sorted(self.reference.queues))
        if name not in self.reference.removed and self.rng.random() < 0.15:
            self.tell(ev.QueueRemoved(name))
        else:
            self.set_queue(name)

    def submit(self):
        queues = sorted(set(self.reference.queues) - self.reference.removed)
        if not queues:
            return
        sequence = self.next_sequence()
        roles = tuple(self.role(i) for i in range(self.rng.randint(1, self.roles)))
        elements = self.rng.choice((1, 1, 1, 4))
        waiting = ((1, 2),) if elements > 1 and self.rng.random() < 0.3 else None
        self.tell(
            ev.JobSubmitted(
                job=f"j{sequence}",
                queue=self.rng.choice(queues),
                priority=self.rng.choice((0, 0, 0, 1, 5)),
                sequence=sequence,
                roles=roles,
                time_limit_s=self.rng.choice((1, 3, 7, 20, 50)),
                elements=elements,
                max_parallel=self.rng.choice((0, 0, 2)) if elements > 1 else 0,
                selector=self.rng.choice(({}, {}, {}, {"zone": "a"}, {"kind": "gpu"})),
                waiting=waiting,
            )
        )

    def role(self, number):
        rng = self.rng
        resources = {"cpu": rng.choice((1, 1, 2, 3, 4, 8)), "memory": rng.choice((0, 1, 2, 6))}
        if rng.random() < 0.2:
            resources["x.io/gpu"] = rng.choice((1, 2, 4))
        if rng.random() < 0.05:
            resources["licence"] = 1
        replicas = rng.choice(REPLICAS)
        elastic = self.elastic and rng.random() < 0.3
        least = rng.randint(1, replicas) if elastic else rng.choice((0, replicas))
        share = rng.choice((0, 0, 0, 1, 2)) if least in {0, replicas} else 0
        return ev.RoleRequest(f"r{number}", replicas, least, resources, share)

    def end(self, key):
        self.tell(ev.Ended(*key, self.now))
        job, element = key
        if self.rng.random() < 0.15 and self.engine.knows(job):
            self.tell(ev.ElementsReturned(job, (element,)))

    def withdraw(self):
        jobs = sorted(self.reference.jobs)
        if jobs and self.rng.random() < 0.5:
            self.tell(ev.JobWithdrawn(self.rng.choice(jobs)))

    def take_back(self):
        jobs = sorted(self.reference.jobs)
        if jobs:
            job = self.rng.choice(jobs)
            size = self.reference.jobs[job].event.elements
            self.tell(ev.ElementsWithdrawn(job, (self.rng.randrange(size), 0)))

    def give_back(self):
        jobs = sorted(self.reference.jobs)
        if jobs:
            job = self.rng.choice(jobs)
            size = self.reference.jobs[job].event.elements
            idle = [e for e in range(size) if (job, e) not in self.reference.runs]
            if idle:
                self.tell(ev.ElementsReturned(job, tuple(idle[: self.rng.randint(1, 3)])))

    def resize(self):
        runs = [run for run in self.reference.runs.values() if run.wanted]
        if runs:
            run = self.rng.choice(runs)
            role = self.rng.choice(sorted(run.wanted))
            replicas = self.rng.randint(0, 6)
            sequence = self.next_sequence()
            self.tell(ev.ResizeRequested(run.job, role, replicas, sequence, run.element))

    def lose_replicas(self):
        runs = [run for run in self.reference.runs.values() if any(run.wanted.values())]
        if not runs:
            return
        run = self.rng.choice(runs)
        parts = sorted(key for key, count in run.parts.items() if count and key[0] in run.wanted)
        if parts:
            role, node = self.rng.choice(parts)
            indices = sorted(run.indices[role])
            some = tuple(indices[: self.rng.randint(1, run.parts[role, node])])
            self.tell(ev.ReplicasEnded(run.job, run.element, role, node, some))

    # Plans

    def plan(self, max_starts=1000):
        """One plan, asked of both; returns the decisions."""
        self.max_starts = max_starts
        before = self.engine.snapshot()
        decisions = self.engine.plan(self.now, max_starts)
        assert self.engine.snapshot() == before, "a plan changed the state"
        expected = self.reference.plan(self.now, max_starts)
        assert decisions == expected, f"{self.now}: {decisions}\nreference: {expected}"
        return decisions

    def follow(self, decisions):
        for event in decisions.events(self.now):
            self.tell(event)

    # Laws

    def oversubscribed(self):
        """Nodes on which more runs than they have."""
        return [
            (node.name, resource)
            for node in self.engine.nodes()
            for resource, free in node.free.items()
            if free < 0
        ]

    def over_quota(self):
        """Queues whose work holds more than their quota."""
        return [
            name
            for name, queue in self.engine.queues().items()
            if any(queue.used.get(r, 0) > most for r, most in queue.quota.items())
        ]

    def startable(self):
        """Jobs that wait although nothing forbids them and there is room."""
        plan = ReferencePlan(self.reference, self.now, 1)
        for job in list(self.reference.jobs):
            if self.reference.jobs[job].waiting:
                plan.visit_job(job)
        return list(plan.starts)

    def condensed(self):
        """Events that lead to the present state by the shortest way, in another order."""
        state = self.reference
        names = sorted(state.queues, reverse=True)
        yield from (
            state.queues[name] for name in names if name not in state.removed or self.live(name)
        )
        nodes = list(state.nodes.values())
        self.rng.shuffle(nodes)
        yield from nodes
        for name, job in sorted(state.jobs.items(), reverse=True):
            running = {element for other, element in state.runs if other == name}
            waiting = sorted(job.waiting | running)
            yield replace(job.event, waiting=tuple((element, 1) for element in waiting))
        for run in state.runs.values():
            yield from self.condensed_run(run)
        for job in state.jobs.values():
            if job.promise:
                promise = job.promise
                yield ev.Promised(promise.job, promise.element, promise.start, promise.placement)
        yield from (ev.QueueRemoved(name) for name in sorted(state.removed) if self.live(name))

    def condensed_run(self, run):
        event = self.reference.jobs[run.job].event
        indices = {role: sorted(used) for role, used in run.indices.items()}
        placement = []
        for (role, node), some in sorted(run.parts.items()):
            for _ in range(some):
                index = indices[role].pop(0) if role in indices else len(placement)
                placement.append(ev.Assignment(role, index, node))
        yield ev.Started(run.job, run.element, tuple(placement), run.end - event.time_limit_s)
        for role in run.wanted:
            yield ev.ResizeRequested(run.job, role, 0, event.sequence, run.element)
            wanted = len(run.indices[role])
            for sequence, some in sorted(run.requests[role].items()):
                wanted += some
                yield ev.ResizeRequested(run.job, role, wanted, sequence, run.element)
            yield ev.ResizeRequested(run.job, role, run.wanted[role], self.sequence, run.element)

    def live(self, queue):
        """Whether any job is of this queue."""
        return any(job.event.queue == queue for job in self.reference.jobs.values())

    def placements(self, decisions):
        """Replicas by role of every start, and those its gang asks for."""
        for start in decisions.starts:
            roles = self.reference.jobs[start.job].event.roles
            asked = {role.name: role.min_replicas or role.replicas for role in roles}
            yield Counter(a.role for a in start.placement), asked
