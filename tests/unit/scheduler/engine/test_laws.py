"""Laws of the engine, on random lives of small clusters."""

from __future__ import annotations

import heapq
import os
import random
import subprocess
import sys

from gridloom_services.scheduler.engine import Engine
from gridloom_services.scheduler.engine import events as ev
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.engine.world import World

bounded = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
seeds = st.integers(0, 2**32)


def live(seed, cycles, **options):
    """A world that has lived some cycles; yields it with what every cycle decided."""
    rng = random.Random(seed)
    world = World(rng, **options)
    for _ in range(cycles):
        world.step()
        decisions = world.plan(rng.choice((1000, 1000, 1000, 1, 3)))
        yield world, decisions
        world.follow(decisions)


@bounded
@given(seeds, st.integers(0, 5))
def test_gangs_of_one_role_are_decided_as_by_brute_force(seed, reservations):
    for _ in live(seed, 12, reservations=reservations, roles=1):
        pass


@bounded
@given(seeds, st.integers(0, 5))
def test_gangs_of_several_roles_are_decided_as_by_brute_force(seed, reservations):
    for _ in live(seed, 12, reservations=reservations, roles=3):
        pass


@bounded
@given(seeds, st.integers(0, 3))
def test_a_gang_starts_whole(seed, reservations):
    for world, decisions in live(seed, 8, reservations=reservations):
        for placed, asked in world.placements(decisions):
            assert placed == asked


@bounded
@given(seeds, st.integers(0, 3))
def test_nothing_is_oversubscribed_and_every_quota_holds(seed, reservations):
    rng = random.Random(seed)
    world = World(rng, reservations=reservations, churn=False)
    for _ in range(10):
        world.step()
        world.follow(world.plan())
        assert world.oversubscribed() == []
        assert world.over_quota() == []


@bounded
@given(seeds, st.integers(0, 3))
def test_a_replayed_log_gives_the_same_state_and_the_same_plan(seed, reservations):
    for world, decisions in live(seed, 6, reservations=reservations):
        again = Engine(**world.options)
        again.apply_all(world.log)
        assert again.snapshot() == world.engine.snapshot()
        assert again.plan(world.now, world.max_starts) == decisions


@bounded
@given(seeds, st.integers(0, 3))
def test_a_condensed_log_in_another_order_gives_the_same_plan(seed, reservations):
    for world, decisions in live(seed, 6, reservations=reservations):
        again = Engine(**world.options)
        again.apply_all(world.condensed())
        assert again.plan(world.now, world.max_starts) == decisions


@bounded
@given(seeds)
def test_without_promises_nothing_that_fits_is_left_waiting(seed):
    rng = random.Random(seed)
    world = World(rng, reservations=0, roles=1)
    for _ in range(8):
        world.step()
        world.follow(world.plan())
        assert world.startable() == []


@bounded
@given(seeds, st.integers(0, 5))
def test_a_second_plan_at_the_same_time_only_grows_what_the_first_started(seed, reservations):
    rng = random.Random(seed)
    world = World(rng, reservations=reservations, roles=1)
    for _ in range(6):
        world.step()
        world.follow(world.plan())
        again = world.plan()
        assert not again.starts
        assert not again.drops
        world.follow(again)
        assert not world.plan().starts


class Line:
    """A line of jobs on a cluster where nothing overruns, fails or changes."""

    def __init__(self, rng, reservations):
        self.engine = Engine(reservations=reservations)
        self.engine.apply(ev.QueueSet("p/q"))
        self.engine.apply(ev.QueueSet("p/bounded", quota={"cpu": rng.randint(4, 24)}))
        for number in range(rng.randint(1, 8)):
            self.engine.apply(ev.NodeSet(f"n{number}", {"cpu": rng.choice((4, 8))}))
        self.rng = rng
        self.promised = {}
        self.late = []
        self.limits = {}

    def run(self, jobs):
        times = [(self.rng.randint(0, 60), number, "") for number in range(jobs)]
        heapq.heapify(times)
        while times:
            now, number, ended = heapq.heappop(times)
            self.engine.apply(ev.Ended(ended, 0, now) if ended else self.submission(number))
            if times and times[0][0] == now:
                continue
            for job, end in self.cycle(now):
                heapq.heappush(times, (end, jobs, job))

    def submission(self, number):
        rng, job = self.rng, f"j{number}"
        replicas = rng.choice((1, 1, 2, 3, 6))
        least = rng.randint(1, replicas) if rng.random() < 0.3 else 0
        role = ev.RoleRequest("main", replicas, least, {"cpu": rng.choice((1, 2, 4, 8))})
        self.limits[job] = rng.choice((1, 5, 20, 60))
        queue = rng.choice(("p/q", "p/q", "p/bounded"))
        return ev.JobSubmitted(job, queue, 0, number, (role,), self.limits[job])

    def cycle(self, now):
        decisions = self.engine.plan(now)
        for start in decisions.starts:
            if self.promised.pop(start.job, now) < now:
                self.late.append(start.job)
            yield start.job, now + self.rng.randint(1, self.limits[start.job])
        for promise in decisions.promises:
            assert promise.start <= self.promised.get(promise.job, promise.start)
            self.promised[promise.job] = promise.start
        assert not decisions.drops
        self.engine.apply_all(decisions.events(now))


@bounded
@given(seeds, st.integers(1, 6))
def test_promises_move_only_earlier_and_are_kept_where_nothing_overruns(seed, reservations):
    line = Line(random.Random(seed), reservations)
    line.run(50)
    assert line.late == []


HASHES = """
import random
from tests.unit.scheduler.engine.world import World
for seed in range(4):
    world = World(random.Random(seed), reservations=2)
    for _ in range(6):
        world.step()
        decisions = world.engine.plan(world.now)
        print(decisions, world.engine.snapshot())
        world.follow(decisions)
"""


def test_decisions_do_not_depend_on_the_hash_seed():
    outputs = {
        subprocess.run(
            [sys.executable, "-c", HASHES],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
