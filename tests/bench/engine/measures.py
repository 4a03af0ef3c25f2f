"""The measures of the engine: each yields lines of text."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc

from gridloom_services.scheduler.engine import Engine
from gridloom_services.scheduler.engine import events as ev

from tests.bench.engine.cluster import CORES, Cluster, Mix, empty, role

CYCLES = 20
REPEATS = 5


def line(measure, asked, reached):
    return f"{measure:58} {asked:>14}  {reached}"


def clock():
    return time.process_time()


def ms(seconds):
    return f"{seconds * 1000:.1f}"


def spread(times):
    ordered = sorted(times)
    p90 = ordered[int(len(ordered) * 0.9)]
    return f"median {ms(statistics.median(ordered))} ({ms(ordered[0])} to {ms(p90)}) ms"


def rates(values):
    return f"median {statistics.median(values):,.0f}/s (best {max(values):,.0f})"


def warm(cluster, cycles=CYCLES):
    """Times of plans after 50 ends and 50 submissions each, and how many starts they made."""
    times, starts = [], 0
    for _ in range(cycles):
        cluster.tell(*cluster.happen())
        begin = clock()
        decisions = cluster.engine.plan(cluster.now)
        times.append(clock() - begin)
        starts += len(decisions.starts)
        cluster.follow(decisions)
    return times, starts / cycles


def full(mix, reservations=1):
    cluster = Cluster(mix, reservations)
    cluster.build()
    cluster.fill()
    return cluster


def cycles():
    for name, mix, reservations in (
        ("400 shapes", Mix(), 0),
        ("400 shapes", Mix(), 1),
        ("91,000 shapes", Mix(shapes=91_000), 1),
        ("100 levels of priority", Mix(levels=100), 1),
        ("400 shapes", Mix(), 5),
        ("400 shapes", Mix(), 10),
    ):
        cluster = full(mix, reservations)
        times, starts = warm(cluster)
        asked = "60 ms" if reservations == 1 else "-"
        text = f"cycle, 50 ended + 50 new, K={reservations}, {name}"
        yield line(text, asked, f"{spread(times)}; {starts:.0f} starts")


def nothing():
    cluster = full(Mix())
    times, plans = [], []
    for _ in range(REPEATS):
        gc.collect()
        begin = clock()
        engine = Engine()
        engine.apply_all(cluster.log)
        applied = clock()
        engine.plan(cluster.now)
        times.append(clock() - begin)
        plans.append(clock() - applied)
    text = f"{spread(times)}; of it the plan {ms(statistics.median(plans))} ms"
    yield line(f"from nothing: {len(cluster.log):,} events and a plan", "1,000 ms", text)


def mass_end():
    cluster = full(Mix())
    cluster.tell(*cluster.happen(ended=len(cluster.running) // 2, new=0))
    begin = clock()
    starts, plans = 0, []
    while True:
        start = clock()
        decisions = cluster.engine.plan(cluster.now)
        plans.append(clock() - start)
        if not decisions:
            break
        starts += len(decisions.starts)
        cluster.follow(decisions)
    text = f"{starts} starts in {clock() - begin:.2f} s; plans of 1,000: {spread(plans)}"
    yield line("half of what runs ends at once", "-", text)


def rate(roles, jobs, name, asked):
    both, planned = [], []
    for _ in range(REPEATS):
        engine = empty()
        engine.apply_all(ev.JobSubmitted(f"j{i}", "p/q", 0, i, roles, 3600) for i in range(jobs))
        started, seconds = 0, 0.0
        begin = clock()
        while True:
            start = clock()
            decisions = engine.plan(0)
            seconds += clock() - start
            if not decisions.starts:
                break
            started += len(decisions.starts)
            engine.apply_all(decisions.events(0))
        both.append(started / (clock() - begin))
        planned.append(started / seconds)
    return line(name, asked, f"{rates(both)} with apply; planned {rates(planned)}")


def placements():
    whole = {"cpu": CORES}
    yield rate((role(1, {"cpu": 4000}),), 10_000, "10,000 single-node jobs", "8,000/s")
    yield rate((role(1, whole),), 8_000, "8,000 whole-node jobs", "8,000/s")
    yield rate((role(16, whole),), 500, "16-node gangs, whole nodes", "2,500/s")
    two = (role(1, {"cpu": 1000}, "head"), role(16, {"cpu": CORES // 2}, "worker"))
    yield rate(two, 1000, "two roles, 1 + 16", "-")


def apply():
    cluster = full(Mix())
    mixed, news, starts = [], [], []
    for _ in range(REPEATS):
        told = cluster.happen(ended=1_500, new=1_500)
        pairs = zip(told[:1_500], told[1_500:], strict=True)
        mixed.append(applied(cluster.engine, [event for pair in pairs for event in pair]))
        news.append(applied(cluster.engine, [cluster.job() for _ in range(5_000)]))
        decisions = cluster.engine.plan(cluster.now, 1_500)
        for start in decisions.starts:
            cluster.running[start.job, start.element] = cluster.now
        starts.append(applied(cluster.engine, list(decisions.events(cluster.now))))
    yield line("apply: ends and submissions", "100,000/s", rates(mixed))
    yield line("apply: submissions", "100,000/s", rates(news))
    yield line("apply: starts", "-", rates(starts))
    yield from apply_gangs()


def apply_gangs():
    starts, ends = [], []
    for _ in range(REPEATS):
        engine = empty()
        roles = (role(16, {"cpu": CORES}),)
        engine.apply_all(ev.JobSubmitted(f"j{i}", "p/q", 0, i, roles, 3600) for i in range(500))
        decided = list(engine.plan(0).events(0))
        starts.append(applied(engine, decided))
        ends.append(applied(engine, [ev.Ended(start.job, 0, 1) for start in decided]))
    yield line("apply: starts of 16-node gangs", "-", rates(starts))
    yield line("apply: ends of 16-node gangs", "-", rates(ends))


def applied(engine, events):
    begin = clock()
    engine.apply_all(events)
    return len(events) / (clock() - begin)


def memory():
    cluster = Cluster(Mix())
    tracemalloc.start()
    cluster.build()
    nodes = tracemalloc.get_traced_memory()[0]
    jobs = [cluster.job() for _ in range(100_000)]
    before = tracemalloc.get_traced_memory()[0]
    cluster.engine.apply_all(jobs)
    after = tracemalloc.get_traced_memory()[0]
    names = sum(len(job.job) + 49 for job in jobs)
    tracemalloc.reset_peak()
    cluster.engine.plan(0, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    text = f"{(after - before) / 100_000:.0f} B + id {names / 100_000:.0f} B"
    yield line("memory of a queued job", "400 B", text)
    yield line("memory of a node, its event included", "-", f"{nodes / 10_000:.0f} B")
    yield line("memory of a plan of 100 starts", "-", f"{(peak - after) / 1e6:.1f} MB")


def explain():
    cluster = full(Mix())
    cluster.tell(*cluster.happen())
    cluster.follow(cluster.engine.plan(cluster.now))
    waiting = [job for job, at in cluster.engine.snapshot().jobs.items() if at.waiting]
    times = []
    for job in cluster.rng.sample(waiting, 200):
        begin = clock()
        cluster.engine.explain(job, cluster.now)
        times.append(clock() - begin)
    yield line("explain, after a plan", "1 ms", f"{spread(times)}; the first {ms(times[0])} ms")


MEASURES = {
    measure.__name__.replace("_", "-"): measure
    for measure in (cycles, nothing, mass_end, placements, apply, memory, explain)
}
