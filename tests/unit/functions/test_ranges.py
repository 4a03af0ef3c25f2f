from gridloom_services.functions.ranges import Ranges
from hypothesis import given
from hypothesis import strategies as st

edges = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: tuple(sorted(pair)))
steps = st.lists(st.tuples(st.booleans(), edges), max_size=30)


def numbers_of(ranges: Ranges) -> set[int]:
    return {number for start, stop in ranges for number in range(start, stop)}


def after(changes: list[tuple[bool, tuple[int, int]]]) -> tuple[Ranges, set[int]]:
    ranges, model = Ranges(), set()
    for adds, (start, stop) in changes:
        if adds:
            ranges.add(start, stop)
            model |= set(range(start, stop))
        else:
            ranges.remove(start, stop)
            model -= set(range(start, stop))
    return ranges, model


@given(steps)
def test_it_is_the_set_that_the_changes_make(changes):
    ranges, model = after(changes)
    assert numbers_of(ranges) == model
    assert ranges.count == len(model)
    assert [number for number in range(45) if number in ranges] == sorted(model)


@given(steps)
def test_its_ranges_are_in_order_and_do_not_touch(changes):
    ranges, _ = after(changes)
    flat = [edge for pair in ranges for edge in pair]
    assert flat == sorted(set(flat))


@given(steps, edges)
def test_overlap_and_gaps_share_out_a_range(changes, window):
    ranges, model = after(changes)
    inside = {n for a, b in ranges.overlap(*window) for n in range(a, b)}
    outside = {n for a, b in ranges.gaps(*window) for n in range(a, b)}
    assert inside == set(range(*window)) & model
    assert outside == set(range(*window)) - model


@given(steps)
def test_what_is_packed_comes_back(changes):
    ranges, _ = after(changes)
    assert Ranges.unpack(ranges.pack()) == ranges
