"""What every store of calls does: in tables on both databases, and in memory."""

from __future__ import annotations

import asyncio

import pytest
from gridloom_services.functions.call import (
    Attempts,
    CallSpec,
    Function,
    Retries,
    Status,
    stored_id,
)
from gridloom_services.functions.ranges import Ranges
from gridloom_services.functions.store.memory import MemoryCallStore
from gridloom_services.functions.store.rows import (
    AttemptPlace,
    AttemptRow,
    BlockRow,
    CallEventRow,
    Changes,
    Confirmation,
    EventQuery,
    Found,
    GroupRow,
    HoldRow,
    LaneExtent,
    OutputQuery,
    OutputRow,
    PoolEventRow,
    PoolRow,
    Reads,
    Refill,
    ResultQuery,
    ResultRow,
    SessionRow,
    SpecRow,
    WaitingRow,
)
from gridloom_services.functions.store.schema import SCHEMA
from gridloom_services.functions.store.sql import SqlCallStore

from tests.support.migrations import assert_migrations_match_metadata

OK = b"\x01"
KEY = b"k" * 16


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request):
    if request.param == "memory":
        made = MemoryCallStore()
    else:
        fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
        made = SqlCallStore(request.getfixturevalue(fixture))
    await made.open()
    yield made
    await made.close()


async def commit(store, reads=None, **changes) -> Found:
    future = asyncio.get_running_loop().create_future()
    store.commit(Changes(**changes), reads or Reads(), future.set_result)
    found = await future
    if isinstance(found, Exception):
        raise found
    return found


def session(number=1, **fields) -> SessionRow:
    names = {"key": bytes([number]) * 16, "name": f"s{number}", "project": "p", "owner": "o"}
    return SessionRow(number, **{**names, "python": "3.11", **fields})


def spec(number=1, of=1, **fields) -> SpecRow:
    return SpecRow(of, CallSpec(number, b"digest", "pool_a", **fields))


def block(first, count=1, *, of=1, spec=1, items=0, needs=0, offset=0) -> BlockRow:
    arguments = [b"a%d" % n for n in range(1 if items else count)]
    return BlockRow(stored_id(of, first), spec, items, needs, offset, 5.0, arguments)


def result(number, first, statuses=OK, values=None, *, of=1, items=None, group=0) -> ResultRow:
    values = values or [b"v%d" % n for n in range(len(statuses))]
    return ResultRow(of, number, first, items, statuses, values, group, 0, 7.0)


def group(number=1, of=1, **fields) -> GroupRow:
    counts = {"accepted": 0, "succeeded": 0, "failed": 0, "cancelled": 0, "sealed": False}
    times = {"created_at": 1.0, "ended_at": None}
    words = {"name": "n", "kind": "map", "project": "p", "function": "f"}
    return GroupRow(stored_id(of, number), **{**words, **counts, **times, **fields})


async def results(store, **query) -> list[tuple[int, int]]:
    rows = await store.results(ResultQuery(**{"session": 1, "after": 0, **query}))
    return [(row.number, row.first) for row in rows]


async def numbered(store, **query) -> list[tuple[int, object]]:
    return await store.events(EventQuery(**query))


# Sessions, functions, specifications.


async def test_every_start_has_a_higher_epoch(store):
    for epoch in (2, 3):
        await store.close()
        assert await store.open() == epoch


async def test_a_session_is_found_by_key_and_by_name(store):
    row = session(key=KEY, name="abc")
    await commit(store, new_sessions=[row])
    assert await store.session(key=KEY) == row
    assert await store.session(name="abc") == row
    assert await store.session(name="abd") is None


async def test_a_session_remembers_how_far_it_came(store):
    await commit(store, new_sessions=[session()])
    await commit(store, sessions=[(10, 20, 15, 9.5, 1)])
    row = await store.session(name="s1")
    assert (row.last_sequence, row.result_number, row.confirmed, row.seen_at) == (10, 20, 15, 9.5)


async def test_a_function_is_kept_once(store):
    function = Function(b"d", "f", b"code", "3.11", "sha256:x", 5)
    await commit(store, functions=[(function, 1.0)])
    await commit(store, functions=[(Function(b"d", "other", b"other"), 2.0)])
    assert await store.function(b"d") == function
    assert await store.function(b"e") is None


async def test_a_project_has_the_functions_that_its_sessions_use(store):
    names = ((b"digest", "f"), (b"unused", "g"))
    functions = [(Function(digest, name, b"code"), 1.0) for digest, name in names]
    await commit(store, new_sessions=[session()], functions=functions, specs=[spec()])
    assert await store.functions("p") == [Function(b"digest", "f", b"")]
    assert await store.functions("q") == []


async def test_a_specification_comes_back_whole(store):
    row = spec(
        group=3,
        timeout_ms=10,
        retries=Retries(1, 2, 3, 4, 5, 6),
        capture_output=True,
        at_most_once=True,
        max_parallel=7,
        name="f",
    )
    await commit(store, new_sessions=[session()], specs=[row])
    assert await store.spec(1, 1) == row
    assert await store.spec(1, 2) is None


# Calls.


async def test_blocks_are_read_in_order_until_there_are_enough_calls(store):
    rows = [block(1, 3), block(4, 2), block(6, 4)]
    refill = Refill(session=1, spec=1, first=1, last=9, calls=4)
    found = await commit(store, Reads(refills=[refill]), blocks=rows)
    assert found.refills == [(rows[:2], False)]
    rest = Refill(session=1, spec=1, first=6, last=9, calls=4_000)
    found = await commit(store, Reads(refills=[rest]))
    assert found.refills == [(rows[2:], True)]


async def test_only_the_lanes_own_blocks_are_read_and_none_that_wait(store):
    rows = [block(1), block(2, spec=2), block(3, needs=1), block(4, items=9), block(1, of=2)]
    refill = Refill(session=1, spec=1, first=1, last=9, calls=100)
    found = await commit(store, Reads(refills=[refill]), blocks=rows)
    assert found.refills == [([rows[0], rows[3]], True)]


async def test_many_blocks_are_read_page_by_page(store):
    rows = [block(n) for n in range(1, 101)]
    refill = Refill(session=1, spec=1, first=1, last=100, calls=90)
    found = await commit(store, Reads(refills=[refill]), blocks=rows)
    assert found.refills == [(rows[:90], False)]


async def test_what_is_done_of_a_block_comes_back_with_it(store):
    await commit(store, blocks=[block(1, 10)])
    await commit(store, progress=[(stored_id(1, 1), Ranges([(0, 3)]).pack())])
    await commit(store, progress=[(stored_id(1, 1), Ranges([(0, 3), (5, 6)]).pack())])
    found = await commit(store, Reads(recalls=[(stored_id(1, 1), True)]))
    assert found.recalls[0].done == Ranges([(0, 3), (5, 6)])


async def test_a_finished_block_is_gone(store):
    await commit(store, blocks=[block(1, 10)], progress=[(stored_id(1, 1), b"")])
    found = await commit(
        store, Reads(recalls=[(stored_id(1, 1), True)]), finished=[stored_id(1, 1)]
    )
    assert found.recalls == [None]
    assert await store.block(stored_id(1, 5)) is None


async def test_an_unfinished_call_is_found_in_its_block(store):
    await commit(store, blocks=[block(5, 10)], progress=[(stored_id(1, 5), b"\2\0\0\0\3\0\0\0")])
    assert (await store.block(stored_id(1, 9))).id == stored_id(1, 5)
    assert await store.block(stored_id(1, 7)) is None
    assert await store.block(stored_id(1, 15)) is None
    assert await store.block(stored_id(1, 4)) is None


async def test_attempts_are_remembered_until_they_are_over(store):
    rows = [
        AttemptRow(stored_id(1, 1), 0, Attempts(errors=1), not_before=12.5),
        AttemptRow(stored_id(1, 1), 4, Attempts(deaths=2), isolated=True, begun=True),
    ]
    await commit(store, blocks=[block(1, 10)], attempts=[rows[0]])
    await commit(store, attempts=[AttemptRow(rows[0].block, 0, Attempts(errors=2)), rows[1]])
    found = (await store.block(stored_id(1, 1))).attempts
    assert found == [AttemptRow(rows[0].block, 0, Attempts(errors=2)), rows[1]]
    await commit(store, attempts_over=[(stored_id(1, 1), 0, 3)])
    assert (await store.recover()).attempts == [AttemptPlace(rows[1], spec=1, items=0)]


# Results.


async def test_results_are_read_in_the_order_of_their_numbers(store):
    await commit(store, results=[result(2, 9), result(1, 4, OK * 3), result(1, 1, of=2)])
    assert await results(store) == [(1, 4), (2, 9)]
    assert await results(store, after=1) == [(2, 9)]


async def test_a_result_comes_back_whole(store):
    rows = [
        ResultRow(1, 1, 7, None, b"\x01\x02", [b"", b"error"], 0, 3, 7.5),
        ResultRow(1, 2, 9, (4, 5), OK, [b"x" * 100_000], stored_id(1, 2), 11, 8.5),
    ]
    await commit(store, results=rows)
    found = await store.results(ResultQuery(session=1, after=0))
    assert [(row, list(row.values)) for row in found] == [(row, row.values) for row in rows]


async def test_a_page_of_results_is_bounded_but_never_empty(store):
    rows = [result(n, n, OK, [b"x" * 1000]) for n in range(1, 60)]
    await commit(store, results=rows)
    assert len(await results(store, calls=40)) == 40
    assert len(await results(store, value_bytes=2_500)) == 3
    assert len(await results(store, value_bytes=1)) == 1


async def test_a_groups_results_are_read_alone(store):
    mine = stored_id(1, 7)
    await commit(store, results=[result(1, 1), result(2, 2, group=mine), result(3, 3, group=mine)])
    assert await results(store, group=mine) == [(2, 2), (3, 3)]
    assert await results(store, group=mine, after=2) == [(3, 3)]


async def test_a_calls_result_is_cut_out_of_its_run(store):
    await commit(store, results=[result(1, 10, b"\x01\x02\x01")])
    (row,) = await store.results(ResultQuery(1, 0, call=stored_id(1, 11)))
    assert (row.first, row.statuses, list(row.values)) == (11, b"\x02", [b"v1"])
    assert await results(store, call=stored_id(1, 13)) == []
    assert await results(store, call=stored_id(1, 11), after=1) == []


async def test_parts_of_a_chunk_are_all_its_calls(store):
    rows = [result(1, 4, items=(5, 5)), result(2, 5), result(3, 4, items=(0, 5))]
    await commit(store, results=rows)
    assert await results(store, call=stored_id(1, 4)) == [(1, 4), (3, 4)]


async def test_confirmed_results_go_but_those_of_groups_stay(store):
    rows = [result(1, 1), result(2, 2, group=stored_id(1, 1)), result(3, 3), result(4, 4)]
    await commit(store, new_sessions=[session()], results=rows)
    await commit(store, confirmed=[Confirmation(1, 0, 3)])
    assert await results(store) == [(2, 2), (4, 4)]


async def test_a_confirmed_result_that_others_wait_for_stays_until_they_do_not(store):
    pinned = {stored_id(1, 2)}
    await commit(store, new_sessions=[session()], results=[result(1, 1, OK * 3), result(2, 4)])
    await commit(
        store,
        confirmed=[Confirmation(1, 0, 2)],
        sessions=[(4, 2, 2, 0.0, 1)],
        pinned=pinned,
    )
    assert await results(store) == [(1, 1)]
    await commit(store, unpinned=list(pinned), sessions=[(4, 2, 2, 0.0, 1)])
    assert await results(store) == []


async def test_what_is_held_for_a_call_of_a_group_alone_is_let_go_when_its_client_has_all_of_it(
    store,
):
    chunk, group = stored_id(1, 1), stored_id(1, 9)
    hold = HoldRow(chunk, "call_s1_1", ("shm:" + "a" * 32,))
    other = HoldRow(stored_id(1, 5), "group_s1_9", ("sha256:b",))
    first, second = (result(n, 1, items=(n, 1), group=group) for n in (1, 3))
    await commit(
        store,
        new_sessions=[session()],
        specs=[spec()],
        blocks=[block(1, items=3)],
        holds=[hold, other],
        results=[first, result(2, 5, group=group)],
    )
    found = await commit(store, confirmed=[Confirmation(1, 0, 2, has_holds=True)])
    assert found.released == []  # more of the call is to come
    await commit(store, results=[second], finished=[chunk])
    found = await commit(store, confirmed=[Confirmation(1, 2, 3, has_holds=True)])
    assert found.released == [(chunk, "call_s1_1")]
    assert len(await results(store, group=group)) == 3


async def test_what_others_of_a_group_wait_for_is_let_go_when_they_do_not(store):
    call, seen = stored_id(1, 1), [(1, 1, 1, 0.0, 1)]
    rows = [result(1, 1, group=stored_id(1, 9))]
    hold = HoldRow(call, "call_s1_1", ("shm:" + "a" * 32,))
    await commit(store, new_sessions=[session()], results=rows, holds=[hold])
    confirmed = [Confirmation(1, 0, 1, has_holds=True)]
    found = await commit(store, confirmed=confirmed, sessions=seen, pinned={call})
    assert found.released == []
    found = await commit(store, unpinned=[call], sessions=seen)
    assert found.released == [(call, "call_s1_1")]


async def test_objects_of_a_result_that_only_others_waited_for_are_named_to_be_released(store):
    call = stored_id(1, 1)
    hold = HoldRow(call, "call_s1_1", ("shm:" + "a" * 32,))
    seen = [(1, 1, 1, 0.0, 1)]
    await commit(store, new_sessions=[session()], results=[result(1, 1)], holds=[hold])
    confirmed = [Confirmation(1, 0, 1, has_holds=True)]
    await commit(store, confirmed=confirmed, sessions=seen, pinned={call})
    found = await commit(store, unpinned=[call], sessions=seen)
    assert found.released == [(call, "call_s1_1")]


async def test_a_result_that_its_client_has_not_confirmed_stays_when_nobody_waits_for_it(store):
    await commit(store, new_sessions=[session()], results=[result(1, 1)])
    await commit(store, unpinned=[stored_id(1, 1)], sessions=[(1, 1, 0, 0.0, 1)])
    assert await results(store) == [(1, 1)]


# Calls that wait for others.


async def test_a_call_that_waits_learns_where_the_others_stand(store):
    await commit(
        store,
        blocks=[block(1, 3), block(10, items=4)],
        progress=[(stored_id(1, 1), Ranges([(0, 2)]).pack())],
        results=[result(1, 1, b"\x01\x02"), result(2, 10, items=(0, 2))],
    )
    calls = tuple(stored_id(1, n) for n in (1, 2, 3, 10, 11))
    found = await commit(store, Reads(blocked=[(stored_id(1, 20), calls)]))
    ((waiting, upstreams),) = found.blocked
    assert waiting == stored_id(1, 20)
    assert [(upstream.status, upstream.value) for upstream in upstreams] == [
        (Status.OK, b""),
        (Status.ERROR, b"v1"),
        (None, b""),
        (None, b""),
        (Status.REFUSED, b""),
    ]


async def test_one_failed_item_fails_the_chunk_for_those_who_wait(store):
    rows = [result(1, 1, items=(0, 2)), result(2, 1, b"\x03", [b"late"], items=(2, 1))]
    await commit(store, results=rows)
    found = await commit(store, Reads(blocked=[(9, (stored_id(1, 1),))]))
    (upstream,) = found.blocked[0][1]
    assert (upstream.status, upstream.value) == (Status.TIMEOUT, b"late")


async def test_a_recalled_call_has_its_inputs_in_the_order_sent(store):
    waiting = stored_id(1, 9)
    await commit(
        store,
        blocks=[block(9, needs=2)],
        dependencies=[(waiting, 1, stored_id(1, 3)), (waiting, 0, stored_id(1, 5))],
        results=[
            result(1, 5, items=(2, 2), values=[b"later"]),
            result(2, 1, OK * 4, [b"a", b"b", b"c", b"d"]),
            result(3, 5, items=(0, 2), values=[b"early"]),
        ],
    )
    found = await commit(store, Reads(recalls=[(waiting, True)]))
    inputs = found.recalls[0].inputs
    assert [(each.parts, each.chunked) for each in inputs] == [
        ((b"early", b"later"), True),
        ((b"c",), False),
    ]


# Groups, outputs, pools, objects.


async def test_a_group_changes_its_counts(store):
    await commit(store, groups=[group()])
    later = group(accepted=5, succeeded=3, failed=1, cancelled=1, sealed=True, ended_at=9.0)
    await commit(store, groups=[later])
    assert await store.group(later.id) == later
    assert await store.group(1) is None


async def test_groups_of_a_project_are_listed_newest_first(store):
    rows = [group(n, created_at=float(n // 2)) for n in range(1, 6)]
    await commit(store, groups=[*rows, group(9, project="q")])
    first = await store.groups("p", None, 2)
    assert [row.id & 0xFF for row in first] == [5, 4]
    rest = await store.groups("p", (first[-1].created_at, first[-1].id), 10)
    assert [row.id & 0xFF for row in rest] == [3, 2, 1]


async def test_output_is_read_by_call_and_by_group(store):
    mine = stored_id(1, 1)
    rows = [
        OutputRow(stored_id(1, 1), mine, 0, 1, b"a"),
        OutputRow(stored_id(1, 2), mine, 3, 2, b"b"),
        OutputRow(stored_id(1, 1), 0, 0, 1, b"c"),
    ]
    await commit(store, outputs=rows)
    of_call = await store.outputs(OutputQuery(0, call=stored_id(1, 1)))
    assert [row for _, row in of_call] == [rows[0], rows[2]]
    of_group = await store.outputs(OutputQuery(0, group=mine))
    assert [row for _, row in of_group] == rows[:2]
    assert await store.outputs(OutputQuery(of_call[-1][0], call=stored_id(1, 1))) == []


async def test_output_goes_with_its_result(store):
    output = OutputRow(stored_id(1, 1), 0, 0, 1, b"a")
    await commit(store, new_sessions=[session()], results=[result(1, 1)], outputs=[output])
    await commit(store, confirmed=[Confirmation(1, 0, 1, has_outputs=True)])
    assert await store.outputs(OutputQuery(0, call=stored_id(1, 1))) == []


async def test_objects_of_confirmed_calls_are_named_to_be_released(store):
    hold = HoldRow(stored_id(1, 2), "call_s1_2", ("sha256:a", "sha256:b"))
    more = HoldRow(stored_id(1, 2), "call_s1_2", ("sha256:c",))
    await commit(store, new_sessions=[session()], results=[result(1, 1, OK * 3)], holds=[hold])
    await commit(store, holds=[more])
    assert (await store.recover()).holds == [hold, more]
    found = await commit(store, confirmed=[Confirmation(1, 0, 1, has_holds=True)])
    assert found.released == [(stored_id(1, 2), "call_s1_2")]
    assert (await store.recover()).released == found.released
    await commit(store, holds_over=[stored_id(1, 2)])
    assert (await store.recover()).holds == []


async def test_a_pool_changes(store):
    row = PoolRow("pool_a", "key", "p", "o", "r", b"spec", 1, "", 0, 1.0, "")
    other = PoolRow("pool_b", "", "p", "o", "", b"", 1, "", 0, 0.5, "")
    await commit(store, pools=[row, other])
    later = PoolRow("pool_a", "key", "p", "o", "r", b"spec", 3, "job_1", 2, 1.0, "why", "{}")
    await commit(store, pools=[later])
    assert (await store.recover()).pools == [other, later]


# A restart.


async def test_a_restart_finds_what_is_unfinished(store):
    mine = stored_id(1, 4)
    await commit(
        store,
        new_sessions=[session(1), session(2), session(3)],
        specs=[spec(1, group=4), spec(2), spec(1, of=2), spec(1, of=3)],
        groups=[group(4), group(1, of=2)],
        blocks=[block(1, 10), block(20, 5), block(30, items=7), block(5, of=2, items=8, needs=1)],
        progress=[
            (stored_id(1, 1), Ranges([(0, 4)]).pack()),
            (stored_id(2, 5), Ranges([(1, 3)]).pack()),
        ],
        dependencies=[(stored_id(2, 5), 0, stored_id(2, 1))],
        sessions=[(30, 0, 0, 1.0, 1), (5, 0, 0, 1.0, 2)],
    )
    found = await store.recover()
    assert found.next_session == 4
    assert [row.number for row in found.sessions] == [1, 2]
    assert [(row.session, row.spec.number) for row in found.specs] == [(1, 1), (2, 1)]
    assert [row.id for row in found.groups] == [mine]
    assert found.lanes == [LaneExtent(1, 1, first=1, last=30, positions=18)]
    assert found.waiting == [WaitingRow(stored_id(2, 5), 1, 8, 8, 6, (stored_id(2, 1),))]


async def test_an_empty_store_has_nothing_to_recover(store):
    found = await store.recover()
    assert (found.next_session, found.sessions, found.lanes, found.pools) == (1, [], [], [])


# Retention.


async def prune_all(store, before=100.0, limit=10):
    released = []
    while (pruned := await store.prune(before, limit)).removed:
        released += pruned.released
    return released


async def test_an_ended_group_goes_with_its_results_when_it_is_old(store):
    old, young = stored_id(1, 1), stored_id(1, 2)
    await commit(
        store,
        new_sessions=[session(seen_at=500.0)],
        groups=[group(1, ended_at=50.0), group(2, ended_at=150.0), group(3)],
        results=[result(n, n, group=old) for n in range(1, 40)] + [result(50, 50, group=young)],
        holds=[HoldRow(stored_id(1, 3), "group_s1_1", ("sha256:a",))],
    )
    assert await prune_all(store) == [(stored_id(1, 3), "group_s1_1")]
    assert await results(store) == [(50, 50)]
    assert [row.id for row in await store.groups("p", None, 9)] == [stored_id(1, 3), young]


async def test_an_abandoned_session_goes_unless_something_is_unfinished(store):
    await commit(
        store,
        new_sessions=[session(1, seen_at=50.0), session(2, seen_at=50.0), session(3, seen_at=200)],
        functions=[
            (Function(b"digest", "f", b"code"), 50.0),
            (Function(b"e", "g", b"code"), 50.0),
            (Function(b"new", "h", b"code"), 150.0),
        ],
        specs=[spec(), SpecRow(2, CallSpec(1, b"e", "pool_a"))],
        blocks=[block(1, of=2)],
        results=[result(1, 1), result(1, 2, of=2), result(1, 1, of=3)],
    )
    await prune_all(store)
    assert await store.session(name="s1") is None
    assert await store.session(name="s2") is not None
    assert await results(store, session=3) == [(1, 1)]
    assert await store.function(b"digest") is None
    assert await store.function(b"e") is not None
    assert await store.function(b"new") is not None


# Of the tables only.


@pytest.mark.parametrize("kind", ["sqlite_url", "postgres_url"])
def test_running_the_migrations_makes_the_tables(kind, request):
    assert_migrations_match_metadata(SCHEMA, request.getfixturevalue(kind))


async def test_what_was_committed_is_there_after_a_restart(database_url):
    first = SqlCallStore(database_url)
    assert await first.open() == 1
    await commit(first, new_sessions=[session()], blocks=[block(1, 3)], specs=[spec()])
    await first.close()
    second = SqlCallStore(database_url)
    assert await second.open() == 2
    assert (await second.recover()).lanes == [LaneExtent(1, 1, 1, 3, 3)]
    await second.close()


async def test_a_commit_on_sqlite_is_done_when_it_returns(sqlite_url):
    store = SqlCallStore(sqlite_url)
    await store.open()
    answers = []
    store.commit(Changes(new_sessions=[session()]), Reads(), answers.append)
    assert isinstance(answers[0], Found)
    await store.close()


async def test_a_full_disk_refuses_a_commit_and_keeps_what_there_was(sqlite_url):
    store = SqlCallStore(sqlite_url)
    await store.open()
    await commit(store, new_sessions=[session()])
    raw = store._database.raw
    raw.execute(f"PRAGMA max_page_count = {raw.execute('PRAGMA page_count').fetchone()[0]}")
    large = BlockRow(stored_id(1, 1), 1, 0, 0, 0, 0.0, [b"x" * 1_000_000])
    with pytest.raises(Exception, match="full"):
        await commit(store, blocks=[large])
    raw.execute("PRAGMA max_page_count = 1000000")
    await commit(store, blocks=[large])
    assert (await store.block(large.id)).arguments == large.arguments
    await store.close()


# What became of calls and pools; names.


def again(call, reason="", *, group=0, item=0, attempt=2) -> CallEventRow:
    return CallEventRow(stored_id(1, call), group, 6.5, item, attempt, reason)


async def test_events_of_a_call_and_of_its_group_are_read_in_order(store):
    group = stored_id(1, 4)
    rows = [again(1, "a", group=group), again(2, "b", group=group), again(1, "c", group=group)]
    alone = again(7, "d", item=3, attempt=5)
    await commit(store, new_sessions=[session()], call_events=[*rows, alone])
    found = await numbered(store, call=stored_id(1, 1))
    assert [row for _, row in found] == [rows[0], rows[2]]
    assert [row for _, row in await numbered(store, group=group)] == rows
    assert [row for _, row in await numbered(store, call=stored_id(1, 7))] == [alone]
    first = await numbered(store, group=group, limit=2)
    assert [row for _, row in first] == rows[:2]
    rest = await numbered(store, group=group, after=first[-1][0])
    assert [row for _, row in rest] == rows[2:]


async def test_events_of_a_call_go_with_its_result(store):
    await commit(
        store,
        new_sessions=[session()],
        results=[result(1, 1), result(2, 2)],
        call_events=[again(1), again(2)],
    )
    await commit(store, confirmed=[Confirmation(1, 0, 1, has_outputs=True)])
    assert await numbered(store, call=stored_id(1, 1)) == []
    assert len(await numbered(store, call=stored_id(1, 2))) == 1


async def test_events_of_pools_are_kept_for_as_long_as_groups(store):
    old, young = PoolEventRow("pool_a", 5.0, 2, "", "why"), PoolEventRow("pool_a", 9.0, 3, "j", "")
    await commit(store, pool_events=[old, young, PoolEventRow("pool_b", 9.0, 1, "", "")])
    assert [row for _, row in await numbered(store, pool="pool_a")] == [old, young]
    await store.prune(8.0, 10)
    assert [row for _, row in await numbered(store, pool="pool_a")] == [young]


async def test_a_result_says_when_its_call_was_taken_in(store):
    row = ResultRow(1, 1, 7, None, OK * 2, [b"a", b"b"], 0, 0, 7.5, accepted_at=5.25)
    await commit(store, new_sessions=[session()], results=[row])
    (found,) = await store.results(ResultQuery(1, 0, call=stored_id(1, 8)))
    assert (found.accepted_at, found.values) == (5.25, [b"b"])


async def test_results_of_named_calls_are_kept_until_they_are_old(store):
    named = [result(n, n, group=stored_id(1, 0)) for n in (1, 2)]
    named[1].ended_at = 20.0
    hold = HoldRow(stored_id(1, 1), "call_s1_1", ("sha256:a",))
    seen = (3, 3, 3, 50.0, 1)
    await commit(
        store,
        new_sessions=[session()],
        results=[*named, result(3, 3)],
        holds=[hold],
        confirmed=[Confirmation(1, 0, 3, has_holds=True)],
        sessions=[seen],
    )
    assert await results(store) == [(1, 1), (2, 2)]
    assert (await store.prune(10.0, 64)).released == [(stored_id(1, 1), "call_s1_1")]
    assert await results(store) == [(2, 2)]
