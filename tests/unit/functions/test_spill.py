from gridloom_services.functions.dispatch.spill import Spill


def test_calls_that_follow_each_other_are_one_range():
    spill = Spill()
    for first in range(1, 1_000_001, 4_000):
        spill.add(first, first + 3_999, 4_000)
    assert list(spill) == [(1, 1_000_000)]
    assert spill.positions == 1_000_000


def test_many_ranges_are_joined_where_they_lie_closest():
    spill = Spill()
    for number in range(1_000):
        spill.add(number * 10, number * 10 + 2, 3)
    assert len(list(spill)) <= 64
    assert spill.next()[0] == 0
    assert list(spill)[-1][1] == 9_992


def test_what_is_read_leaves_from_the_front():
    spill = Spill()
    spill.add(1, 10, 10)
    spill.add(21, 30, 10)
    spill.read(4, 4)
    assert list(spill) == [(5, 10), (21, 30)]
    spill.read(10, 6)
    assert list(spill) == [(21, 30)]
    spill.read(30, 10)
    assert not spill
    assert spill.positions == 0


def test_a_range_that_grew_while_it_was_read_keeps_what_is_new():
    spill = Spill()
    spill.add(1, 10, 10)
    spill.add(11, 20, 10)
    spill.read(10, 10)
    assert list(spill) == [(11, 20)]


def test_the_parts_of_a_range_of_calls_are_found():
    spill = Spill()
    spill.add(1, 10, 10)
    spill.add(21, 30, 10)
    assert spill.overlap(5, 25) == [(5, 10), (21, 25)]
    assert spill.overlap(11, 20) == []
