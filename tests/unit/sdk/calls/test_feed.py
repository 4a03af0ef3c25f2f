"""Taking from a source through a window."""

from __future__ import annotations

import itertools
import math

import pytest
from gridloom.calls.feed import BUDGET_BYTES, Feed, Window, spread, zipped
from gridloom.calls.sizing import ChunkSizes
from gridloom.items import Items


class Outlet:
    """Keeps what is sent, and has room when told so."""

    def __init__(self) -> None:
        self.chunks: list[list] = []
        self.room = True
        self.ended = 0

    def send(self, own) -> None:
        self.chunks.append(own)
        self.window.sent(len(own))

    def has_room(self) -> bool:
        return self.room

    def exhausted(self) -> None:
        self.ended += 1


def feed_of(iterable, *, size=3, **window):
    outlet = Outlet()
    source = zipped([iterable], {})
    is_sized = source.total is not None
    outlet.window = Window(window.pop("chunks", 2), is_sized=is_sized, **window)
    return Feed(source, outlet, ChunkSizes(1, fixed=size), outlet.window), outlet


def test_of_an_endless_source_only_a_window_is_taken():
    counter = itertools.count()
    feed, outlet = feed_of(counter)
    feed.pump(may_wait=True)
    assert outlet.chunks == [[0, 1, 2], [3, 4, 5]]
    assert next(counter) == 6
    assert not feed.is_exhausted


def test_the_end_of_a_source_of_known_length_is_told_with_its_last_chunk():
    """The window is full then, and nothing has to come back first."""
    feed, outlet = feed_of(range(6))
    feed.pump(may_wait=True)
    assert (outlet.chunks, outlet.ended) == ([[0, 1, 2], [3, 4, 5]], 1)


class Liar(list):
    """Says that it has three items."""

    def __len__(self):
        return 3


def test_a_source_that_has_more_than_it_says_is_taken_whole():
    feed, outlet = feed_of(Liar(range(7)), chunks=9)
    feed.pump(may_wait=True)
    assert (outlet.chunks, outlet.ended) == ([[0, 1, 2], [3, 4, 5], [6]], 1)


def test_finished_chunks_make_room_for_more():
    feed, outlet = feed_of(itertools.count())
    feed.pump(may_wait=True)
    outlet.window.received(3, 10)
    outlet.window.finished()
    feed.pump(may_wait=True)
    assert len(outlet.chunks) == 3


def test_a_window_that_filled_once_becomes_wider():
    window = Window(2)
    for _ in range(2):
        window.sent(1)
        window.received(1, 0)
        window.finished()
    for _ in range(4):
        assert window.is_open(settled=False)
        window.sent(1)
    assert not window.is_open(settled=False)


def test_a_source_of_known_length_is_sent_whole_once_the_size_is_settled():
    feed, outlet = feed_of(range(100))
    feed.pump(may_wait=True)
    assert sum(map(len, outlet.chunks)) == 100
    assert outlet.ended == 1


def test_unread_results_beyond_the_budget_stop_the_feed():
    window = Window(1000)
    window.sent(1)
    window.received(1, BUDGET_BYTES)
    window.finished()
    assert not window.is_open(settled=True)
    window.read(1, BUDGET_BYTES)
    assert window.is_open(settled=True)


def test_expected_results_count_against_the_budget_too():
    window = Window(1000, budget_bytes=10_000)
    window.sent(1)
    window.received(1, 4_000)
    window.finished()
    window.sent(1)
    assert window.is_open(settled=True)
    window.sent(1)
    assert not window.is_open(settled=True)


def test_results_that_nobody_will_read_need_no_room():
    window = Window(1, budget_bytes=10)
    window.lift()
    assert window.is_open(settled=True)
    assert window._budget == math.inf


def test_at_most_so_many_items_are_on_their_way_or_unread():
    window = Window(1000, most_items=2)
    window.sent(1)
    window.sent(1)
    assert not window.is_open(settled=True)
    window.received(1, 0)
    window.finished()
    assert not window.is_open(settled=True)
    window.read(1, 0)
    assert window.is_open(settled=True)


def test_without_waiting_nothing_is_taken_when_there_is_no_room():
    feed, outlet = feed_of(itertools.count())
    outlet.room = False
    feed.pump(may_wait=False)
    assert outlet.chunks == []


def test_the_end_is_said_once():
    feed, outlet = feed_of([1])
    feed.pump(may_wait=True)
    feed.pump(may_wait=True)
    feed.stop()
    assert outlet.ended == 1


def test_a_stopped_feed_takes_nothing_more():
    feed, outlet = feed_of(itertools.count())
    feed.stop()
    feed.pump(may_wait=True)
    assert outlet.chunks == []
    assert outlet.ended == 1


def test_what_the_source_raises_is_kept_after_what_it_gave():
    def source():
        yield 1
        yield 2
        raise OSError("disk")

    feed, outlet = feed_of(source(), size=5)
    feed.pump(may_wait=True)
    assert outlet.chunks == [[1, 2]]
    assert isinstance(feed.error, OSError)
    assert feed.is_exhausted


def calls_of(source):
    return list(Items(source.form, list(source.own)).calls())


def test_an_item_of_one_iterable_is_its_value():
    source = zipped(["ab"], {"k": 1})
    assert calls_of(source) == [(("a",), {"k": 1}), (("b",), {"k": 1})]


def test_iterables_in_step_end_with_the_shortest():
    source = zipped([[1, 2, 3], (4, 5)], {"k": 1})
    assert calls_of(source) == [((1, 4), {"k": 1}), ((2, 5), {"k": 1})]
    assert source.total == 2


def test_more_arguments_go_before_those_of_the_items():
    for source in (zipped([[1]], {}), spread([(1,)], {})):
        assert calls_of(source.after((3,)).after((2,))) == [((2, 3, 1), {})]


def test_a_length_is_known_only_where_all_lengths_are():
    assert zipped([[1], iter([2])], {}).total is None
    assert spread([(1, 2)], {}).total == 1


def test_tuples_of_arguments_are_spread():
    source = spread(iter([(1, 2), [3, 4]]), {})
    assert calls_of(source) == [((1, 2), {}), ((3, 4), {})]
    assert source.total is None


def test_a_starmap_s_item_that_is_no_tuple_ends_the_source():
    source = spread([1], {})
    with pytest.raises(TypeError):
        next(source.own)
