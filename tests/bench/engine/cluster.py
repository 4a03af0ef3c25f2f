"""A full cluster to plan for: 10,000 nodes, what runs on them and 100,000 jobs that wait."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from gridloom_services.scheduler.engine import Engine
from gridloom_services.scheduler.engine import events as ev

GIB = 2**30
CORES = 64_000
MEMORY = 256 * GIB
GPU = "nvidia.com/gpu"
CPU_NODES, GPU_NODES = 8_000, 2_000
QUEUES = [f"project{number % 50}/queue{number}" for number in range(200)]


@dataclass
class Mix:
    """What jobs are like: how many shapes and levels of priority there are."""

    shapes: int = 400
    levels: int = 1
    seed: int = 1


@dataclass
class Cluster:
    """An engine, what was told to it, and the jobs that run."""

    mix: Mix
    reservations: int = 1
    now: int = 0
    log: list[ev.Event] = field(default_factory=list)
    running: dict[tuple[str, int], int] = field(default_factory=dict)
    sequence: int = 0

    def __post_init__(self):
        self.rng = random.Random(self.mix.seed)
        self.engine = Engine(reservations=self.reservations)
        self.shapes = [self.shape() for _ in range(self.mix.shapes)]

    def tell(self, *events):
        self.log.extend(events)
        self.engine.apply_all(events)

    def build(self):
        self.tell(*nodes(), *queues(self.rng))

    def shape(self):
        """Roles and selector of a random job: single nodes mostly, gangs and GPUs too."""
        rng = self.rng
        replicas = rng.choice((1,) * 12 + (2, 4, 8, 16))
        if rng.random() < 0.2:
            gpus = rng.choice((1, 1, 2, 4, 8))
            need = {GPU: gpus, "cpu": gpus * 4_000, "memory": gpus * rng.randint(8, 32) * GIB}
            return (role(replicas, need),), {"flavour": rng.choice("ab")}
        cores = rng.choice((1, 1, 2, 4, 8, 16, 32, 64)) * 1000
        if self.mix.shapes > 10_000:
            cores = rng.randint(1, CORES)
        need = {
            "cpu": cores,
            "memory": min(MEMORY, rng.randint(1, 8) * GIB * max(1, cores // 2000)),
        }
        return (role(replicas, need),), {}

    def job(self):
        self.sequence += 1
        roles, selector = self.rng.choice(self.shapes)
        return ev.JobSubmitted(
            job=f"job_{self.sequence:026d}",
            queue=self.rng.choice(QUEUES),
            priority=self.rng.randrange(self.mix.levels),
            sequence=self.sequence,
            roles=roles,
            time_limit_s=self.rng.choice((600, 3600, 4 * 3600, 24 * 3600)),
            selector=selector,
        )

    def follow(self, decisions):
        for start in decisions.starts:
            self.running[start.job, start.element] = self.now
        self.tell(*decisions.events(self.now))

    def fill(self, waiting=100_000):
        """Start jobs until nothing fits, then let so many wait."""
        while True:
            self.tell(*(self.job() for _ in range(5_000)))
            decisions = self.engine.plan(self.now, 10_000)
            self.follow(decisions)
            if len(decisions.starts) < 100:
                break
            self.now += 60
        queued = sum(queue.queued for queue in self.engine.queues().values())
        self.tell(*(self.job() for _ in range(waiting - queued)))
        while decisions := self.engine.plan(self.now, 10_000):
            self.follow(decisions)

    def happen(self, ended=50, new=50):
        """Events of the time between two cycles."""
        self.now += 10
        over = self.rng.sample(sorted(self.running), ended)
        for key in over:
            del self.running[key]
        ends = [ev.Ended(*key, self.now) for key in over]
        return [*ends, *(self.job() for _ in range(new))]


def role(replicas, need, name="main"):
    return ev.RoleRequest(name, replicas, replicas, need)


def nodes():
    cpu = {"cpu": CORES, "memory": MEMORY}
    gpu = {"cpu": CORES, "memory": MEMORY, GPU: 8}
    for number in range(CPU_NODES):
        yield ev.NodeSet(f"cpu-{number:05d}", cpu, {"flavour": "none"})
    for number in range(GPU_NODES):
        yield ev.NodeSet(f"gpu-{number:05d}", gpu, {"flavour": "ab"[number % 2]})


def queues(rng):
    for name in QUEUES:
        yield ev.QueueSet(name, 0, {"cpu": rng.randint(2_000, 20_000) * 1000, GPU: 800})


def empty(reservations=1):
    """An engine with nodes and one queue, and nothing else."""
    engine = Engine(reservations=reservations)
    engine.apply_all(nodes())
    engine.apply(ev.QueueSet("p/q"))
    return engine
