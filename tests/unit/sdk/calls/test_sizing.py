"""Sizes of chunks from what items take."""

from __future__ import annotations

from gridloom.calls.sizing import GROWTH, MOST_BYTES, MOST_ITEMS, TARGET_S, ChunkSizes, Sent
from hypothesis import given
from hypothesis import strategies as st


def test_an_unknown_function_begins_with_single_items():
    sizes = ChunkSizes(4, total=10_000)
    assert [sizes.next() for _ in range(5)] == [1] * 5
    assert not sizes.settled


def test_short_items_grow_their_chunks_by_a_bounded_factor():
    sizes = ChunkSizes(2)
    sizes.measured(Sent(1, 0, at=0.0), now=0.001)
    assert sizes.next() == GROWTH
    assert not sizes.settled
    sizes.measured(Sent(GROWTH, 0, at=0.0), now=0.0011)
    assert sizes.next() > GROWTH


def test_long_items_stay_alone():
    sizes = ChunkSizes(2)
    sizes.measured(Sent(1, 0, at=0.0), now=2.0)
    assert sizes.next() == 1
    assert sizes.settled


def test_a_list_of_short_items_becomes_four_chunks_a_worker():
    sizes = ChunkSizes(2, total=10_000, item_s=1e-6)
    assert sizes.next() == 1250


def test_what_was_known_before_is_confirmed_before_everything_is_sent():
    sizes = ChunkSizes(2, total=10_000, item_s=0.02)
    assert sizes.next() == 5
    assert not sizes.settled
    sizes.measured(Sent(5, 0, at=0.0), now=0.001)
    assert sizes.next() > 100
    assert sizes.settled


def test_what_waited_in_front_is_not_counted_as_work():
    sizes = ChunkSizes(2)
    sizes.measured(Sent(1, 100, at=0.0), now=0.51)
    assert sizes.item_s == 0.01


def test_a_lower_estimate_is_believed_at_once_and_a_higher_one_by_half():
    sizes = ChunkSizes(1)
    sizes.measured(Sent(1, 0, at=0.0), now=1.0)
    sizes.measured(Sent(1, 0, at=0.0), now=0.1)
    assert sizes.item_s == 0.1
    sizes.measured(Sent(1, 0, at=0.0), now=0.3)
    assert sizes.item_s == 0.2


def test_what_the_service_says_counts_above_what_is_seen_from_here():
    sizes = ChunkSizes(1)
    sizes.told(0.01)
    sizes.measured(Sent(1, 0, at=0.0), now=5.0)
    assert sizes.item_s == 0.01
    assert sizes.next() == int(TARGET_S / 0.01)


def test_no_item_took_longer_than_its_chunk_was_away():
    sizes = ChunkSizes(1)
    sizes.told(0.01)
    sizes.measured(Sent(10, 0, at=0.0), now=0.01)
    assert sizes.item_s == 0.001
    sizes.told(0.01)
    assert sizes.item_s == 0.001


def test_large_items_make_small_chunks():
    sizes = ChunkSizes(1, item_s=1e-6)
    sizes.sent(1, MOST_BYTES // 4)
    assert sizes.next() == 4


def test_a_size_that_was_asked_for_is_kept():
    sizes = ChunkSizes(2, fixed=7, total=5)
    assert sizes.next() == 7
    assert sizes.settled


@given(
    workers=st.integers(1, 1000),
    total=st.none() | st.integers(0, 10**9),
    seen=st.lists(st.tuples(st.integers(1, 20_000), st.floats(0, 1e4)), max_size=20),
)
def test_a_chunk_has_at_least_one_item_and_never_too_many(workers, total, seen):
    sizes = ChunkSizes(workers, total=total)
    for items, took in seen:
        sizes.measured(Sent(items, items, at=0.0), now=took)
        assert 1 <= sizes.next() <= MOST_ITEMS
