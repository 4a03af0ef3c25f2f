import pytest
from gridloom_services.functions.call import Attempts, Retries, Status
from gridloom_services.functions.dispatch import Death, Ending, Recall
from gridloom_services.functions.dispatch.sharing import ask_back

from tests.unit.functions.rig import POOL, Rig, sequences


@pytest.fixture
def rig():
    return Rig()


# Who gets what.


def test_a_call_goes_to_a_worker_and_its_result_is_kept(rig):
    rig.submit(rig.lane())
    rig.worker()
    (lease,) = rig.pump()
    rig.answer(lease, value=b"42")
    assert rig.record.results == {(1, 1, 0): (Status.OK, b"42")}


def test_of_an_unknown_function_each_worker_gets_one_call(rig):
    rig.submit(rig.lane(), 100)
    rig.worker("w1")
    rig.worker("w2")
    assert [sequences(lease) for lease in rig.pump()] == [[1], [2]]
    assert rig.pump() == []


def test_short_calls_are_packed_and_sent_ahead_to_twice_a_slice(rig):
    rig.submit(rig.lane(item_us=100), 1_000)
    rig.worker()
    assert [len(sequences(lease)) for lease in rig.pump()] == [40, 40]
    assert rig.pump() == []


def test_long_calls_are_sent_one_at_a_time(rig):
    rig.submit(rig.lane(item_us=50_000), 10)
    rig.worker()
    (lease,) = rig.pump()
    assert sequences(lease) == [1]
    assert rig.pump() == []


def test_a_few_short_calls_are_shared_among_the_workers(rig):
    rig.submit(rig.lane(item_us=1), 10)
    rig.worker("w1")
    rig.worker("w2")
    assert [len(sequences(lease)) for lease in rig.pump()] == [5, 5]


def test_a_worker_with_many_slots_gets_a_call_for_each(rig):
    rig.submit(rig.lane(), 100)
    rig.worker(slots=32)
    (lease,) = rig.pump()
    assert len(sequences(lease)) == 32


def test_sessions_take_turns_slice_by_slice(rig):
    flood, small = rig.lane(1, item_us=1_000), rig.lane(2, item_us=1_000)
    rig.submit(flood, 10_000)
    rig.worker()
    rig.pump()
    rig.submit(small, 2)
    for lease in list(rig.dispatcher.workers["w1"].leases.values()):
        rig.finish(lease)
    assert any(lease.lane is small for lease in rig.pump())


def test_lanes_of_one_session_take_turns_too(rig):
    huge, small = rig.lane(1, item_us=50_000), rig.lane(1, item_us=50_000)
    rig.submit(huge, 1_000)
    rig.submit(small, 3)
    rig.worker()
    owners = []
    for _ in range(6):
        (lease,) = rig.pump()
        owners.append(lease.lane)
        rig.finish(lease)
    assert owners == [huge, small] * 3


def test_batches_are_small_while_lanes_share_a_pool(rig):
    flood, other = rig.lane(1, item_us=10), rig.lane(2, item_us=10)
    rig.submit(flood, 10_000)
    rig.worker()
    assert len(sequences(rig.pump()[0])) == 400
    rig.submit(other)
    for lease in list(rig.dispatcher.workers["w1"].leases.values()):
        rig.finish(lease)
    rig.pump()
    for lease in list(rig.dispatcher.workers["w1"].leases.values()):
        rig.finish(lease)
    assert {len(sequences(lease)) for lease in rig.pump()} == {100}
    rig.now = 10.0
    for lease in list(rig.dispatcher.workers["w1"].leases.values()):
        rig.finish(lease)
    assert len(sequences(rig.pump()[0])) == 400


def test_no_more_of_a_lane_run_than_max_parallel(rig):
    rig.submit(rig.lane(max_parallel=3), 10)
    workers = [rig.worker(f"w{n}") for n in range(5)]
    leases = rig.pump()
    assert len(leases) == 3
    assert len(workers) == 5
    rig.finish(leases[0])
    assert len(rig.pump()) == 1


def test_a_chunk_is_cut_where_max_parallel_leaves_no_room(rig):
    rig.submit(rig.lane(max_parallel=4), items=10)
    rig.worker(slots=32)
    (lease,) = rig.pump()
    assert lease.positions == 4
    rig.finish(lease)
    assert [lease.positions for lease in rig.pump()] == [4]


def test_a_lane_whose_code_is_missing_waits(rig):
    lane = rig.lane()
    code, lane.function = lane.function, None
    rig.submit(lane)
    rig.worker()
    assert rig.pump() == []
    lane.function = code
    rig.held.enter(lane)
    assert len(rig.pump()) == 1


# Answers.


def test_results_may_come_in_any_order_and_in_parts(rig):
    rig.submit(rig.lane(item_us=1), 10)
    rig.worker()
    (lease,) = rig.pump()
    rig.answer(lease, 5, 2)
    rig.answer(lease, 0, 3)
    rig.answer(lease, 9)
    rig.answer(lease, 3, 2)
    rig.answer(lease, 7, 2)
    assert sorted(rig.record.statuses()) == list(range(1, 11))
    assert set(rig.record.times.values()) == {1}


def test_an_answer_that_comes_twice_counts_once(rig):
    rig.submit(rig.lane(item_us=1), 4)
    rig.worker()
    (lease,) = rig.pump()
    rig.answer(lease, 0, 3, value=b"first")
    rig.answer(lease, 0, 4, value=b"second")
    assert [value for _, value in rig.record.results.values()] == [b"first"] * 3 + [b"second"]


def test_an_answer_for_a_lease_that_is_over_is_refused(rig):
    rig.submit(rig.lane())
    rig.worker("w1")
    (old,) = rig.pump()
    rig.dispatcher.leave("w1", None, 0)
    rig.worker("w1")
    (new,) = rig.pump()
    rig.answer(old, value=b"stale")
    assert rig.record.results == {}
    assert rig.dispatcher.stale_answers == 1
    rig.answer(new, value=b"fresh")
    assert rig.record.results[1, 1, 0] == (Status.OK, b"fresh")


def test_items_of_a_chunk_end_one_by_one(rig):
    block = rig.submit(rig.lane(), items=10)
    rig.worker()
    (lease,) = rig.pump()
    rig.answer_items(lease, 0, 4)
    rig.answer_items(lease, 4, 1, Status.ERROR, value=b"bad")
    assert block.left == 5
    rig.answer_items(lease, 5, 5)
    assert block.left == 0
    assert rig.record.results[1, 1, 4] == (Status.ERROR, b"bad")
    assert len(rig.record.results) == 10


def test_what_a_worker_leaves_out_of_a_finished_batch_is_run_again(rig):
    rig.submit(rig.lane(item_us=1), 3)
    rig.worker()
    (lease,) = rig.pump()
    rig.answer(lease, 0)
    rig.dispatcher.batch_done("w1", lease.number, 0)
    rig.drain()
    assert len(rig.record.results) == 3


def test_the_estimate_follows_what_is_measured(rig):
    rig.submit(rig.lane(), 100)
    rig.worker()
    (lease,) = rig.pump()
    rig.dispatcher.measured("w1", lease.number, 1, 40)
    rig.finish(lease)
    (lease,) = rig.pump()
    assert len(sequences(lease)) == 99


# Retries.


def test_an_error_is_retried_as_often_as_asked(rig):
    rig.submit(rig.lane(retries=Retries(error=2)))
    rig.worker()
    for attempt in (1, 2, 3):
        (lease,) = rig.pump()
        assert lease.open[0].span.attempts.number == attempt
        rig.answer(lease, status=Status.ERROR, value=b"no")
        rig.dispatcher.batch_done("w1", lease.number, 0)
    assert rig.record.results == {(1, 1, 0): (Status.ERROR, b"no")}
    assert [recall.attempts for recall, _ in rig.record.retries] == [Attempts(1), Attempts(2)]


def test_a_good_result_beside_a_failed_one_is_kept(rig):
    rig.submit(rig.lane(item_us=1, retries=Retries(error=1)), 3)
    rig.worker()
    (lease,) = rig.pump()
    statuses = bytes([Status.OK, Status.ERROR, Status.OK])
    rig.dispatcher.answer(("w1", lease.number, 0), statuses, [b"a", b"b", b"c"], 0)
    assert rig.record.results == {(1, 1, 0): (Status.OK, b"a"), (1, 3, 0): (Status.OK, b"c")}
    rig.dispatcher.batch_done("w1", lease.number, 0)
    assert [sequences(lease) for lease in rig.pump()] == [[2]]


def test_a_back_off_delays_the_retry_outside_memory(rig):
    lane = rig.lane(retries=Retries(error=1, backoff_ms=500))
    block = rig.submit(lane)
    rig.worker()
    (lease,) = rig.pump()
    rig.answer(lease, status=Status.ERROR)
    rig.dispatcher.batch_done("w1", lease.number, 0)
    assert rig.held.blocks == {}
    assert rig.held.tick(0.4) == 0.5
    rig.read_recalls({block.id: block})
    assert rig.pump() == []
    assert rig.held.tick(0.5) is None
    rig.read_recalls({block.id: block})
    (lease,) = rig.pump()
    rig.finish(lease)
    assert rig.record.results[1, 1, 0][0] is Status.OK
    assert lane.idle


def test_only_the_failed_item_of_a_chunk_is_retried(rig):
    rig.submit(rig.lane(retries=Retries(error=1)), items=5)
    rig.worker()
    (lease,) = rig.pump()
    rig.answer_items(lease, 0, 2)
    rig.answer_items(lease, 2, 1, Status.ERROR)
    rig.answer_items(lease, 3, 2)
    rig.dispatcher.batch_done("w1", lease.number, 0)
    (lease,) = rig.pump()
    assert [(piece.span.start, piece.span.stop) for piece in lease.open] == [(2, 3)]


# Workers that die.


def test_what_a_dead_worker_had_not_answered_runs_again_first(rig):
    rig.submit(rig.lane(item_us=100), 100)
    rig.worker()
    lease = rig.pump()[0]
    rig.answer(lease, 0, 10)
    rig.dispatcher.leave("w1", Death(), 0)
    rig.worker("w2")
    assert sequences(rig.pump()[0])[:3] == [11, 12, 13]
    assert len(rig.record.results) == 10


def test_the_call_that_a_worker_died_in_runs_alone_next(rig):
    rig.submit(rig.lane(item_us=100), 100)
    rig.worker()
    lease = rig.pump()[0]
    rig.dispatcher.leave("w1", Death(busy=True, batch=lease.number, unit=4), 0)
    rig.worker("w2")
    (alone,) = rig.pump()
    assert sequences(alone) == [5]
    assert alone.spans[0].isolated
    rig.finish(alone)
    assert sequences(rig.pump()[0])[:6] == [1, 2, 3, 4, 6, 7]


def test_when_nobody_knows_the_oldest_call_is_taken_to_be_the_one(rig):
    rig.submit(rig.lane(item_us=100), 20)
    rig.worker()
    (lease,) = rig.pump()
    rig.answer(lease, 0, 3)
    rig.dispatcher.leave("w1", None, 0)
    rig.worker("w2")
    assert sequences(rig.pump()[0]) == [4]


def test_a_call_fails_for_good_with_its_third_dead_worker(rig):
    rig.submit(rig.lane())
    for name in ("w1", "w2", "w3"):
        rig.worker(name)
        (lease,) = rig.pump()
        details = (("signal", "11"),)
        rig.dispatcher.leave(name, Death(busy=True, batch=lease.number, details=details), 0)
    status, value = rig.record.results[1, 1, 0]
    assert status is Status.WORKER_DIED
    assert b"signal 11" in value


def test_innocent_calls_survive_a_deadly_one(rig):
    rig.submit(rig.lane(item_us=100), 30)
    for name in ("w1", "w2", "w3"):
        rig.worker(name)
        lease = next(lease for lease in rig.pump() if 8 in sequences(lease))
        unit = sequences(lease).index(8)
        rig.dispatcher.leave(name, Death(busy=True, batch=lease.number, unit=unit), 0)
    rig.worker("w4")
    rig.drain()
    statuses = rig.record.statuses()
    assert statuses.pop(8) is Status.WORKER_DIED
    assert set(statuses.values()) == {Status.OK}
    assert len(statuses) == 29


def test_the_item_of_a_chunk_that_kills_is_the_one_that_fails(rig):
    rig.submit(rig.lane(), items=10)
    for name in ("w1", "w2", "w3"):
        rig.worker(name)
        lease = rig.pump()[0]
        rig.dispatcher.leave(name, Death(busy=True, batch=lease.number, unit=0, item=6), 0)
    rig.worker("w4")
    rig.drain()
    assert rig.record.results[1, 1, 6][0] is Status.WORKER_DIED
    assert len(rig.record.results) == 10
    assert set(rig.record.times.values()) == {1}


def test_a_busy_pool_sets_a_worker_aside_for_what_must_run_alone(rig):
    rig.submit(rig.lane(1), 1)
    rig.worker("w1")
    (lease,) = rig.pump()
    rig.dispatcher.leave("w1", Death(busy=True, batch=lease.number), 0)
    rig.submit(rig.lane(2, item_us=1_000), 10_000)
    rig.worker("w2")
    busy = rig.dispatcher.workers["w2"]
    for _ in range(20):
        for lease in rig.pump():
            if lease.spans[0].isolated:
                assert len(busy.leases) == 1
                return
        rig.finish(next(iter(busy.leases.values())))
    raise AssertionError("the isolated call never ran")


def test_out_of_memory_and_time_out_have_retries_of_their_own(rig):
    rig.submit(rig.lane(timeout_ms=1_000, retries=Retries(worker_died=9, timeout=0)), 2)
    rig.worker("w1")
    (lease,) = rig.pump()
    rig.dispatcher.leave("w1", Death(busy=True, batch=lease.number, timed_out=True), 0)
    rig.worker("w2")
    (lease,) = rig.pump()
    rig.dispatcher.leave("w2", Death(busy=True, batch=lease.number, out_of_memory=True), 0)
    assert list(rig.record.statuses().values()) == [Status.TIMEOUT, Status.OUT_OF_MEMORY]


def test_at_most_once_is_never_run_again(rig):
    rig.submit(rig.lane(item_us=1, at_most_once=True, retries=Retries(error=5)), 3)
    rig.worker("w1")
    (lease,) = rig.pump()
    assert sequences(lease) == [1]
    rig.answer(lease, status=Status.ERROR)
    rig.dispatcher.batch_done("w1", lease.number, 0)
    (lease,) = rig.pump()
    rig.dispatcher.leave("w1", None, 0)
    rig.worker("w2")
    rig.drain()
    assert list(rig.record.statuses().values()) == [Status.ERROR, Status.WORKER_DIED, Status.OK]


def test_items_behind_the_one_that_killed_are_run_even_at_most_once(rig):
    rig.submit(rig.lane(at_most_once=True), items=6)
    rig.worker("w1")
    (lease,) = rig.pump()
    rig.answer_items(lease, 0, 1)
    rig.dispatcher.leave("w1", Death(busy=True, batch=lease.number, unit=0, item=2), 0)
    rig.worker("w2")
    rig.drain()
    statuses = [rig.record.results[1, 1, item][0] for item in range(6)]
    died, fine = Status.WORKER_DIED, Status.OK
    assert statuses == [fine, died, died, fine, fine, fine]


# Cancelling.


def test_what_waits_is_cancelled_at_once(rig):
    lane = rig.lane()
    rig.submit(lane, 10)
    reached, notices = rig.dispatcher.cancel(lane, 3, 4)
    assert (reached, notices) == (4, [])
    assert rig.record.statuses() == dict.fromkeys(range(3, 7), Status.CANCELLED)
    rig.worker()
    rig.drain()
    assert len(rig.record.results) == 10


def test_a_worker_is_asked_to_drop_what_it_holds(rig):
    lane = rig.lane(item_us=1)
    rig.submit(lane, 6)
    rig.worker()
    (lease,) = rig.pump()
    rig.answer(lease, 0, 2)
    reached, notices = rig.dispatcher.cancel(lane, 4, 2)
    assert reached == 2
    assert [(notice.batch, notice.unit) for notice in notices] == [
        (lease.number, 3),
        (lease.number, 4),
    ]
    rig.answer(lease, 2, 1)
    rig.answer(lease, 3, 2, Status.CANCELLED)
    rig.answer(lease, 5, 1)
    assert rig.record.statuses()[4] is Status.CANCELLED


def test_a_cancelled_call_is_not_retried(rig):
    lane = rig.lane(retries=Retries(error=5))
    rig.submit(lane)
    rig.worker()
    (lease,) = rig.pump()
    rig.dispatcher.cancel(lane, 1, 1)
    rig.answer(lease, status=Status.ERROR)
    assert rig.record.statuses() == {1: Status.ERROR}


def test_a_cancelled_call_whose_worker_dies_is_cancelled(rig):
    lane = rig.lane(item_us=1)
    rig.submit(lane, 5)
    rig.worker()
    rig.pump()
    rig.dispatcher.cancel(lane, 1, 3)
    rig.dispatcher.leave("w1", None, 0)
    assert rig.record.statuses() == dict.fromkeys((1, 2, 3), Status.CANCELLED)
    rig.worker("w2")
    rig.drain()
    assert len(rig.record.results) == 5


def test_single_items_of_a_chunk_can_be_cancelled(rig):
    lane = rig.lane()
    rig.submit(lane, items=10)
    rig.dispatcher.cancel(lane, 1, 1, (2, 5))
    rig.worker()
    rig.drain()
    cancelled = [
        item for (_, _, item), (status, _) in rig.record.results.items() if status is not Status.OK
    ]
    assert cancelled == [2, 3, 4]


def test_a_stored_call_is_ended_without_being_run(rig):
    lane = rig.lane()
    block = rig.submit(lane, items=3)
    lane.withdraw(1, 1, None)
    rig.held.deactivate(block, 3)
    ending = Ending(Status.REFUSED, b"why")
    rig.held.recall(lane, Recall(block.id, 0, 3, Attempts(), 1, chunked=True, ending=ending))
    rig.read_recalls({block.id: block})
    assert {status for status, _ in rig.record.results.values()} == {Status.REFUSED}


# Calls that wait inside for others.


def test_what_a_worker_gives_back_runs_elsewhere(rig):
    rig.submit(rig.lane(item_us=1), 6)
    rig.worker("w1")
    (lease,) = rig.pump()
    rig.answer(lease, 0, 1)
    rig.dispatcher.slot_blocked("w1", lease.number, 1)
    rig.answer(lease, 2, 4, Status.GIVEN_BACK, b"")
    assert rig.pump() == []
    rig.worker("w2")
    assert [number for lease in rig.pump() for number in sequences(lease)] == [3, 4, 5, 6]
    rig.dispatcher.slot_resumed("w1", lease.number, 1)
    rig.answer(lease, 1)
    assert sorted(rig.record.statuses()) == [1, 2]


def test_a_chunk_that_is_given_back_runs_elsewhere(rig):
    rig.submit(rig.lane(item_us=1), items=5)
    rig.worker("w1")
    (lease,) = rig.pump()
    rig.answer(lease, 0, 1, Status.GIVEN_BACK, b"")
    rig.dispatcher.batch_done("w1", lease.number, 0)
    rig.drain()
    assert len(rig.record.results) == 5


def test_what_is_given_back_and_cancelled_ends_there(rig):
    lane = rig.lane(item_us=1)
    rig.submit(lane, 3)
    rig.worker("w1")
    (lease,) = rig.pump()
    rig.dispatcher.cancel(lane, 2, 1)
    rig.answer(lease, 1, 2, Status.GIVEN_BACK, b"")
    assert rig.record.statuses() == {2: Status.CANCELLED}


def test_a_waiting_call_in_a_worker_with_slots_takes_only_its_own(rig):
    rig.submit(rig.lane(item_us=50_000), 4)
    rig.worker(slots=2)
    (lease,) = rig.pump()
    rig.dispatcher.slot_blocked("w1", lease.number, 0)
    rig.answer(lease, 1)
    assert [sequences(lease) for lease in rig.pump()] == [[3]]


def test_all_that_a_worker_with_slots_had_begun_runs_alone(rig):
    rig.submit(rig.lane(item_us=50_000), 4)
    rig.worker("w1", slots=4)
    (lease,) = rig.pump()
    others = ((lease.number, 1, 0), (lease.number, 3, 0))
    death = Death(busy=True, batch=lease.number, unit=0, others=others)
    rig.dispatcher.leave("w1", death, 0)
    rig.worker("w2", slots=4)
    alone = []
    for _ in range(3):
        (lease,) = rig.pump()
        alone.append((sequences(lease), lease.spans[0].attempts.number))
        rig.finish(lease)
    assert sorted(alone) == [([1], 2), ([2], 1), ([4], 1)]
    assert sequences(rig.pump()[0]) == [3]


# Sharing.


def test_what_lies_behind_a_long_call_is_asked_back_for_an_idle_worker(rig):
    rig.submit(rig.lane(item_us=10), 100)
    rig.worker("w1")
    (lease,) = rig.pump()
    rig.worker("w2")
    pool = rig.held.pool(POOL)
    assert ask_back(pool, 0.01) == []
    rig.now = 0.3
    notices = ask_back(pool, rig.now)
    assert [notice.unit for notice in notices] == list(range(50, 100))
    assert ask_back(pool, rig.now + 0.1) == []
    rig.answer(lease, 50, 50, Status.CANCELLED)
    assert sorted(n for lease in rig.pump() for n in sequences(lease)) == list(range(51, 101))
    assert rig.record.results == {}


def test_items_of_a_long_chunk_are_shared_in_one_piece(rig):
    rig.submit(rig.lane(item_us=10_000), items=40)
    rig.worker("w1")
    (lease,) = rig.pump()
    rig.worker("w2")
    rig.answer_items(lease, 0, 4)
    rig.now = 0.3
    (notice,) = ask_back(rig.held.pool(POOL), rig.now)
    assert notice.items == (22, 18)
    for item in range(22, 40):
        rig.answer_items(lease, item, 1, Status.CANCELLED)
    (second,) = rig.pump()
    assert [(piece.span.start, piece.span.stop) for piece in second.open] == [(22, 40)]


def test_nothing_is_asked_back_while_everybody_works(rig):
    rig.submit(rig.lane(item_us=50_000), 10)
    rig.worker("w1")
    rig.worker("w2")
    rig.pump()
    assert ask_back(rig.held.pool(POOL), 10.0) == []


def test_what_was_cancelled_and_asked_back_is_cancelled(rig):
    lane = rig.lane(item_us=10)
    rig.submit(lane, 4)
    rig.worker("w1")
    (lease,) = rig.pump()
    rig.worker("w2")
    rig.dispatcher.cancel(lane, 4, 1)
    ask_back(rig.held.pool(POOL), 1.0)
    rig.answer(lease, 2, 2, Status.CANCELLED)
    assert rig.record.statuses() == {4: Status.CANCELLED}
    assert [n for lease in rig.pump() for n in sequences(lease)] == [3]


def test_a_pool_counts_what_waits_and_what_runs(rig):
    rig.submit(rig.lane(1), 5)
    rig.submit(rig.lane(2), items=4)
    rig.worker()
    rig.pump()
    pool = rig.held.pool(POOL)
    assert (pool.demand, pool.running) == (8, 1)
