"""Short ways to say events, for tests of single rules."""

from __future__ import annotations

from gridloom_services.scheduler.engine import Engine
from gridloom_services.scheduler.engine import events as ev

QUEUE = "p/q"


def role(replicas=1, least=0, name="main", per_node=0, **resources):
    return ev.RoleRequest(name, replicas, least, resources or {"cpu": 1}, per_node)


class Cluster:
    """An engine with nodes of so many cpus and one queue; `cycle` plans and follows."""

    def __init__(self, *cpus, **options):
        self.engine = Engine(**options)
        self.sequence = 0
        self.tell(ev.QueueSet(QUEUE))
        self.tell(*(ev.NodeSet(f"n{i}", {"cpu": cpu}) for i, cpu in enumerate(cpus)))

    def tell(self, *events):
        for event in events:
            self.engine.apply(event)

    def submit(self, job, *roles, limit=100, **options):
        self.sequence += 1
        given = {"queue": QUEUE, "priority": 0, "sequence": self.sequence} | options
        roles = roles or (role(),)
        self.tell(ev.JobSubmitted(job=job, roles=roles, time_limit_s=limit, **given))

    def cycle(self, now=0, max_starts=1000):
        decisions = self.engine.plan(now, max_starts)
        self.tell(*decisions.events(now))
        return decisions

    def started(self, now=0):
        """Jobs that one cycle starts, in order."""
        return [start.job for start in self.cycle(now).starts]

    def used(self, queue=QUEUE):
        return dict(self.engine.queues()[queue].used)


def nodes_of(placement):
    return [assignment.node for assignment in placement]
