"""What a store of jobs promises, on each: SQLite, PostgreSQL and the twin in memory."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from gridloom_services.common.store import Database
from gridloom_services.scheduler.job import (
    Elastic,
    GangEnd,
    GangOutput,
    Job,
    KeptStream,
    LiveGang,
    Outcome,
    Promise,
    ReplicaEnd,
    StopOrder,
    Tries,
    Usage,
)
from gridloom_services.scheduler.query import JobQuery
from gridloom_services.scheduler.queue import Queue, first_queue
from gridloom_services.scheduler.runs import Run
from gridloom_services.scheduler.runtime.base import (
    Assignment,
    InputFile,
    OutputFile,
    Secret,
    StoredStream,
    Volume,
)
from gridloom_services.scheduler.selector import parse_selector
from gridloom_services.scheduler.spec import (
    ArraySpec,
    Condition,
    Dependency,
    Range,
    RetryPolicy,
)
from gridloom_services.scheduler.states import FailureClass, JobState
from gridloom_services.scheduler.store.base import BEGINNING, Changes, StaleEpochError, Store
from gridloom_services.scheduler.store.memory import MemoryStore
from gridloom_services.scheduler.store.schema import SCHEMA
from gridloom_services.scheduler.store.sql import SqlStore

from tests.support.migrations import assert_migrations_match_metadata
from tests.support.scheduler import NOW_US, a_job, a_role, a_spec, an_array, an_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DIGEST = "sha256:" + "a" * 64


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    database = await Database.open(request.getfixturevalue(name), SCHEMA)
    yield await SqlStore.open(database)
    await database.close()


def adding(*jobs: Job) -> Changes:
    return Changes(added={job.sequence: job for job in jobs})


def a_gang(job: Job, element: int = 0, **changes: Any) -> LiveGang:
    gang = LiveGang(
        name=f"{job.id}-a1",
        sequence=job.sequence,
        job_id=job.id,
        element=element,
        attempt=1,
        placement=(Assignment("main", 0, "node"),),
        starting_us=NOW_US,
    )
    return replace(gang, **changes)


def an_end(job: Job, element: int = 0, attempt: int = 1, **changes: Any) -> GangEnd:
    end = GangEnd(
        sequence=job.sequence,
        element=element,
        attempt=attempt,
        outcome=Outcome(),
        queued_us=NOW_US,
        started_us=NOW_US + 1,
        ended_us=NOW_US + 2,
        usage=Usage(0.5, 100),
    )
    return replace(end, **changes)


FULL_SPEC = a_spec(
    a_role(
        name="worker",
        replicas=4,
        min_replicas=2,
        elastic=True,
        colocate=True,
        image="app:1",
        command=("python", "-c", "print('é{index}')"),
        env={"SEED": "1"},
        files=(InputFile("in/data", DIGEST, 7, 0o755), InputFile("b", DIGEST, 7)),
        outputs=("out/*",),
        volumes=(Volume("claim", "/data", read_only=True),),
        secrets=(Secret("name", "key", "TOKEN"),),
        resources={"cpu": 500, "memory": 1 << 40, "nvidia.com/gpu": 1},
        workdir="/srv",
        stdin=InputFile("", DIGEST, 7),
    ),
    a_role("other"),
    name="everything",
    priority=-3,
    kind="mpi",
    array=ArraySpec((Range(0, 9), Range(20, 28, 2)), 3),
    dependencies=(Dependency("job_9", Condition.AFTER_ANY),),
    retry=RetryPolicy({FailureClass.OUT_OF_MEMORY: 2}, 5, 6),
    time_limit_s=60,
    start_after_us=NOW_US + 1,
    deadline_us=NOW_US + 2,
    labels={"study": "a"},
    request_id="r",
    hold=True,
)

FULL_JOB = a_job(
    7,
    FULL_SPEC,
    state=JobState.RUNNING,
    attempt=2,
    revision=12,
    started_us=NOW_US + 5,
    ended_us=None,
    reason='said "no"',
    failure_class=FailureClass.NODE_LOST,
    exit_code=-1,
    signal=9,
    usage=Usage(1.25, 1 << 41),
    retry_of="job_1",
    runs=(Run(0, 3, JobState.SUCCEEDED), Run(3, 12, JobState.QUEUED)),
    sizes=MappingProxyType({"worker": 9}),
)


async def test_an_empty_store_has_nothing(store: Store):
    contents = await store.load()
    assert contents.jobs == contents.gangs == contents.queues == contents.promises == ()
    assert (contents.sequence, contents.revision, contents.tries) == (0, 0, {})
    assert await store.page(JobQuery(), None, 10) == []
    assert await store.compacted() == 0


async def test_every_field_of_a_job_comes_back(store: Store):
    await store.write(adding(FULL_JOB))
    assert await store.jobs(frozenset({FULL_JOB.id, "job_none"})) == {FULL_JOB.id: FULL_JOB}


async def test_a_job_of_defaults_comes_back(store: Store):
    await store.write(adding(a_job(1)))
    assert (await store.load()).jobs == (a_job(1),)


async def test_a_change_replaces_what_was_there(store: Store):
    await store.write(adding(a_job(1), a_job(2)))
    changed = replace(
        a_job(2).moved(JobState.STARTING, "placed", NOW_US + 9), revision=5, attempt=1
    )
    await store.write(Changes(changed={2: changed}))
    assert (await store.load()).jobs == (a_job(1), changed)


async def test_loading_returns_live_jobs_only_in_the_order_of_acceptance(store: Store):
    over = a_job(2, state=JobState.FAILED)
    await store.write(adding(a_job(3), over, a_job(1, state=JobState.HELD)))
    contents = await store.load()
    assert [job.sequence for job in contents.jobs] == [1, 3]
    assert contents.sequence == 3


async def test_a_job_added_and_changed_in_one_transaction_is_as_changed(store: Store):
    changes = adding(a_job(1))
    changes.put_job(replace(a_job(1), reason="later"))
    await store.write(changes)
    assert (await store.load()).jobs[0].reason == "later"


async def test_gangs_come_change_and_go(store: Store):
    job, other = a_job(1), a_job(2)
    gang = a_gang(
        job,
        element=4,
        stop=StopOrder(Outcome(JobState.CANCELLED, FailureClass.CANCELLED, reason="bye"), 2.5),
        leaving=frozenset({("worker", 3), ("worker", 1)}),
        elastic=MappingProxyType({"worker": Elastic(4, 7)}),
    )
    await store.write(Changes(gangs={gang.unit: a_gang(job, 4), (2, 0): a_gang(other)}))
    await store.write(Changes(gangs={gang.unit: gang, (2, 0): None}))
    assert (await store.load()).gangs == (gang,)


async def test_a_gang_that_came_and_went_in_one_transaction_is_not_there(store: Store):
    await store.write(Changes(gangs={(1, 0): None}))
    assert (await store.load()).gangs == ()


async def test_ended_attempts_keep_everything(store: Store):
    job = a_job(1)
    replica = ReplicaEnd(
        "main", 1, JobState.FAILED, "node", 3, 0, 9, FailureClass.NODE_LOST, "gone", Usage(1.5, 2)
    )
    output = GangOutput("main", 1, OutputFile("plot.png", DIGEST, 9, 0o600))
    end = an_end(
        job,
        element=3,
        outcome=Outcome(JobState.FAILED, FailureClass.NODE_LOST, -1, 9, "gone"),
        started_us=None,
        replicas=(replica, replace(replica, index=2)),
        outputs=(output,),
    )
    await store.write(Changes(ends=[end]))
    assert await store.ends(1) == [end]


async def test_ended_attempts_are_found_by_job_and_element_in_order(store: Store):
    one, two = a_job(1), a_job(2)
    ends = [an_end(one, 1, 2), an_end(one, 0, 1), an_end(one, 1, 1), an_end(two, 0, 1)]
    await store.write(Changes(ends=ends))
    found = [(end.element, end.attempt) for end in await store.ends(1)]
    assert found == [(0, 1), (1, 1), (1, 2)]
    assert [end.attempt for end in await store.ends(1, 1)] == [1, 2]


async def test_the_last_ended_attempt_of_several_jobs_is_found_at_once(store: Store):
    one, two = a_job(1), a_job(2)
    await store.write(Changes(ends=[an_end(one), an_end(one, 0, 2), an_end(two)]))
    found = await store.last_ends(frozenset({1, 2, 3}))
    assert {key: end.attempt for key, end in found.items()} == {1: 2, 2: 1}


async def test_tries_of_live_jobs_are_loaded(store: Store):
    tries = Tries(2, MappingProxyType({FailureClass.OUT_OF_MEMORY: 2}), NOW_US, 4)
    over = a_job(2, state=JobState.FAILED)
    changes = adding(a_job(1), over)
    changes.tries = {(1, 5): tries, (2, 0): tries}
    await store.write(changes)
    assert (await store.load()).tries == {(1, 5): tries}
    later = replace(tries, attempts=3)
    await store.write(Changes(tries={(1, 5): later}))
    assert (await store.load()).tries == {(1, 5): later}


async def test_queues_come_change_and_go(store: Store):
    queue = Queue(
        "chem",
        "gpu",
        quota=MappingProxyType({"cpu": 4000}),
        default_time_limit_s=60,
        max_time_limit_s=120,
        closed=True,
        priority=3,
        description="for chemists",
    )
    await store.write(
        Changes(queues={("chem", "gpu"): queue, ("default", "default"): first_queue()})
    )
    await store.write(Changes(queues={("default", "default"): None}))
    assert (await store.load()).queues == (queue,)


async def test_promises_come_and_go(store: Store):
    promise = Promise("job_1", 0, 1234, (Assignment("main", 0, "a"), Assignment("main", 1, "b")))
    await store.write(Changes(promises={("job_1", 0): promise, ("job_2", 0): None}))
    assert (await store.load()).promises == (promise,)
    await store.write(Changes(promises={("job_1", 0): None}))
    assert (await store.load()).promises == ()


async def test_requests_are_found_within_their_project(store: Store):
    one = a_job(1, a_spec(request_id="a"))
    two = a_job(2, a_spec(request_id="a", project="other"))
    await store.write(adding(one, two, a_job(3), a_job(4)))
    assert await store.requests("default", frozenset({"a", "b", ""})) == {"a": one}


# ---- listing


async def test_pages_are_newest_first_and_stable_under_inserts(store: Store):
    await store.write(adding(*(a_job(number) for number in range(1, 6))))
    first = await store.page(JobQuery(), None, 2)
    await store.write(adding(a_job(6)))
    second = await store.page(JobQuery(), first[-1].sequence, 2)
    assert [job.sequence for job in first + second] == [5, 4, 3, 2]


QUERIES = [
    JobQuery(),
    JobQuery(project="other"),
    JobQuery(queue="gpu"),
    JobQuery(owner="bob"),
    JobQuery(kind="pool"),
    JobQuery(states=frozenset({JobState.QUEUED, JobState.HELD})),
    JobQuery(states=frozenset({JobState.QUEUED, JobState.FAILED})),
    JobQuery(job_ids=frozenset({"job_1", "job_4", "job_99"})),
    JobQuery(labels=parse_selector("study=a")),
    JobQuery(labels=parse_selector("study!=a")),
    JobQuery(labels=parse_selector("study in (a,b),!draft")),
    JobQuery(labels=parse_selector("study notin (a)")),
    JobQuery(labels=parse_selector("draft")),
    JobQuery(project="default", owner="ada", labels=parse_selector("study=a,draft")),
]


@pytest.mark.parametrize("query", QUERIES)
async def test_a_listing_finds_what_the_query_matches(store: Store, query: JobQuery):
    jobs = [
        a_job(1, a_spec(labels={"study": "a"})),
        a_job(2, a_spec(labels={"study": "b", "draft": ""}, queue="gpu")),
        a_job(3, a_spec(project="other"), state=JobState.FAILED),
        a_job(4, a_spec(kind="pool"), owner="bob", state=JobState.HELD),
        a_job(5, a_spec(labels={"study": "a", "draft": "x"})),
    ]
    await store.write(adding(*jobs))
    expected = [job.id for job in reversed(jobs) if query.matches(job)]
    assert [job.id for job in await store.page(query, None, 100)] == expected


# ---- history


async def test_history_of_one_job_is_oldest_first_from_a_revision_on(store: Store):
    one, two = a_job(1), a_job(2)
    moved = an_event(
        3, one, before=JobState.QUEUED, after=JobState.STARTING, attempt=1, reason="placed"
    )
    changes = adding(one, two)
    changes.events = [an_event(1, one), an_event(2, two), moved]
    await store.write(changes)
    assert await store.history(1, 0, 10) == [an_event(1, one), moved]
    assert await store.history(1, 1, 10) == [moved]
    assert await store.history(1, 0, 1) == [an_event(1, one)]
    assert [event.revision for event in await store.events_after(1, 10)] == [2, 3]
    assert (await store.load()).revision == 3


async def test_history_of_an_element_is_its_part_of_the_runs(store: Store):
    job = a_job(1, a_spec(array=an_array(10)))
    changes = adding(job)
    changes.events = [
        an_event(1, job),
        an_event(2, job, before=JobState.QUEUED, after=JobState.HELD, element=0, count=5),
        an_event(3, job, before=JobState.QUEUED, after=JobState.STARTING, element=5, count=1),
        an_event(4, job, before=JobState.QUEUED, after=JobState.STARTING),
    ]
    await store.write(changes)
    assert [event.revision for event in await store.history(1, 0, 10, 4)] == [1, 2]
    assert [event.revision for event in await store.history(1, 0, 10, 5)] == [1, 3]


async def test_where_streams_are_is_kept_by_gang_and_name(store: Store):
    whole = KeptStream(StoredStream(DIGEST), 12)
    cut = KeptStream(StoredStream(DIGEST, 4, 1 << 40), 8)
    await store.keep_streams("job_a-a1", {"main.0.stdout": whole, "main.0.stderr": whole})
    # Again, after a crash: what is said last holds.
    await store.keep_streams("job_a-a1", {"main.0.stdout": cut})
    await store.keep_streams("job_a-a2", {})
    assert await store.kept_stream("job_a-a1", "main.0.stdout") == cut
    assert await store.kept_stream("job_a-a1", "main.0.stderr") == whole
    assert await store.kept_stream("job_a-a2", "main.0.stdout") is None


async def test_compacting_lets_go_of_the_history_of_jobs_long_over(store: Store):
    old = a_job(1, state=JobState.SUCCEEDED, ended_us=NOW_US)
    recent = a_job(2, state=JobState.SUCCEEDED, ended_us=NOW_US + 100)
    live = a_job(3)
    changes = adding(old, recent, live)
    changes.events = [an_event(1, live), an_event(2, old), an_event(3, recent), an_event(4, old)]
    await store.write(changes)
    assert await store.compact(NOW_US + 50, 10) is None
    assert await store.compacted() == 4
    assert [event.revision for event in await store.events_after(0, 10)] == [1, 3]
    assert await store.compact(NOW_US + 50, 10) is None
    assert await store.compacted() == 4


async def test_compacting_takes_some_events_at_a_time_and_goes_on_where_it_was(store: Store):
    jobs = [a_job(n, state=JobState.SUCCEEDED, ended_us=NOW_US - n // 2) for n in range(1, 6)]
    changes = adding(*jobs, a_job(6))
    changes.events = [an_event(1 + n, [*jobs, changes.added[6]][n % 6]) for n in range(30)]
    await store.write(changes)
    place, steps = BEGINNING, 0
    while place is not None:
        before = {event.revision for event in await store.events_after(0, 100)}
        place, steps = await store.compact(NOW_US + 1, 3, place), steps + 1
        left = {event.revision for event in await store.events_after(0, 100)}
        assert len(before - left) <= 3
        assert max(before - left, default=0) <= await store.compacted()
    assert left == {6, 12, 18, 24, 30}
    assert await store.compacted() == 29
    assert steps >= 9


async def test_revisions_are_never_given_twice_even_after_compaction(store: Store):
    over = a_job(1, state=JobState.SUCCEEDED, ended_us=NOW_US)
    changes = adding(over)
    changes.events = [an_event(9, over)]
    await store.write(changes)
    await store.compact(NOW_US + 1, 10)
    assert (await store.load()).revision == 9


# ---- jobs that are long over


def over(sequence: int, ended_us: int, **changes: Any) -> Job:
    return a_job(sequence, state=JobState.SUCCEEDED, ended_us=ended_us, **changes)


async def ids_of(store: Store) -> list[str]:
    return [job.id for job in await store.page(JobQuery(), None, 100)]


async def test_a_job_that_is_pruned_goes_with_all_that_is_known_of_it(store: Store):
    old, newest = over(1, NOW_US, spec=a_spec(labels={"a": "b"})), a_job(2)
    kept = KeptStream(StoredStream(DIGEST), 7)
    changes = adding(old, newest)
    changes.events = [an_event(3, newest), an_event(5, old)]
    changes.ends = [an_end(old)]
    changes.tries = {(1, 0): Tries(1)}
    await store.write(changes)
    await store.keep_streams(f"{old.id}-a1", {"main.0.stdout": kept})
    assert await store.prune(NOW_US + 1, 100, frozenset()) > 0
    assert await store.prune(NOW_US + 1, 100, frozenset()) == 0
    assert await ids_of(store) == [newest.id]
    assert (await store.jobs(frozenset({old.id})), await store.ends(1)) == ({}, [])
    assert [event.revision for event in await store.events_after(0, 10)] == [3]
    assert await store.compacted() == 5
    assert await store.kept_stream(f"{old.id}-a1", "main.0.stdout") is None
    assert await store.page(JobQuery(labels=parse_selector("a=b")), None, 10) == []
    assert await store.leavings(10) == [old.id]
    await store.cleared([old.id])
    assert await store.leavings(10) == []


async def test_what_lives_is_young_is_awaited_or_is_the_newest_is_not_pruned(store: Store):
    gone, live, awaited = over(1, NOW_US), a_job(2), over(3, NOW_US)
    young, newest = over(4, NOW_US + 9), over(5, NOW_US)
    await store.write(adding(gone, live, awaited, young, newest))
    await store.prune(NOW_US + 1, 100, frozenset({awaited.id}))
    assert await ids_of(store) == [job.id for job in (newest, young, awaited, live)]
    assert (await store.load()).sequence == 5


async def test_a_large_job_is_pruned_in_steps_and_shown_until_the_last(store: Store):
    array = over(1, NOW_US, spec=a_spec(array=an_array(30)))
    changes = adding(array, a_job(2))
    changes.ends = [an_end(array, element) for element in range(30)]
    await store.write(changes)
    steps = 0
    while await store.prune(NOW_US + 1, 8, frozenset()):
        steps += 1
        assert len(await store.ends(1)) in {0, 30 - 8 * steps}
    assert (await ids_of(store), await store.ends(1)) == ([a_job(2).id], [])
    assert await store.leavings(10) == [array.id]


async def test_the_horizon_is_where_there_are_enough_newer_ones(store: Store):
    await store.write(adding(*(over(number, NOW_US + number) for number in range(1, 6)), a_job(6)))
    assert await store.horizon(NOW_US, 5) == NOW_US
    assert await store.horizon(NOW_US, 2) == NOW_US + 4
    assert await store.horizon(NOW_US + 99, 2) == NOW_US + 99
    await store.prune(await store.horizon(NOW_US, 2), 100, frozenset())
    assert await ids_of(store) == [a_job(number).id for number in (6, 5, 4)]


async def test_a_scheduler_of_an_older_epoch_prunes_nothing(database_url: str):
    database = await Database.open(database_url, SCHEMA)
    older = await SqlStore.open(database)
    await older.write(adding(over(1, NOW_US), a_job(2)))
    await SqlStore.open(database)
    with pytest.raises(StaleEpochError):
        await older.prune(NOW_US + 1, 10, frozenset())
    await database.close()


# ---- the database alone


async def test_what_a_scheduler_of_an_older_epoch_writes_is_refused(database_url: str):
    database = await Database.open(database_url, SCHEMA)
    older = await SqlStore.open(database)
    newer = await SqlStore.open(database)
    with pytest.raises(StaleEpochError, match=r"epoch 2"):
        await older.write(adding(a_job(1)))
    await newer.write(adding(a_job(1)))
    assert [job.sequence for job in (await newer.load()).jobs] == [1]
    await database.close()


async def test_a_transaction_that_fails_leaves_nothing(database_url: str):
    database = await Database.open(database_url, SCHEMA)
    store = await SqlStore.open(database)
    await store.write(adding(a_job(1)))
    broken = adding(a_job(2))
    broken.events = [an_event(1, a_job(2)), an_event(1, a_job(2))]
    with pytest.raises(Exception, match=r"(?i)unique"):
        await store.write(broken)
    assert (await store.load()).jobs == (a_job(1),)
    await database.close()


def test_a_fresh_store_and_a_migrated_one_are_alike(database_url: str):
    assert_migrations_match_metadata(SCHEMA, database_url)
