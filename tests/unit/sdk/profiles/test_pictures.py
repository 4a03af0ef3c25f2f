"""Stacks from counts, counts from samples, and the picture of both."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from gridloom.profiles.flamegraph import flamegraph
from gridloom.profiles.frames import Counts, Frame, Timing, stacks_of, timings_of, without_runners
from gridloom.profiles.profile import Profile, decoded, merged
from gridloom.worker.profiling.recording import Recording

MAIN, LEFT, RIGHT, BOTTOM = (Frame("solve.py", n, name) for n, name in enumerate("mlrb", 1))
SUM = Frame("~", 0, "<built-in method builtins.sum>")
RUN = Frame("<frozen runpy>", 3, "run_module")


def counted(own_s, total_s, **callers):
    by = {"main": MAIN, "left": LEFT, "right": RIGHT, "bottom": BOTTOM}
    seconds = {by[name]: Counts(1, 1, 0.0, each) for name, each in callers.items()}
    return Timing(Counts(1, 1, own_s, total_s), seconds)


def test_time_below_a_function_with_two_callers_is_shared_as_they_have_used_it():
    timings = {
        MAIN: counted(1.0, 10.0),
        LEFT: counted(0.0, 6.0, main=6.0),
        RIGHT: counted(0.0, 3.0, main=3.0),
        BOTTOM: counted(9.0, 9.0, left=6.0, right=3.0),
    }
    assert stacks_of(timings) == pytest.approx(
        {(MAIN,): 1.0, (MAIN, LEFT, BOTTOM): 6.0, (MAIN, RIGHT, BOTTOM): 3.0}
    )


def test_recursion_is_drawn_once_and_no_time_is_lost():
    timings = {MAIN: counted(1.0, 4.0), LEFT: counted(3.0, 3.0, main=3.0, left=2.0)}
    stacks = stacks_of(timings)
    assert sum(stacks.values()) == pytest.approx(4.0)
    assert stacks[MAIN, LEFT] == pytest.approx(3.0)


def test_calls_of_calls_through_the_same_c_function_are_drawn_above_each_other():
    timings = {
        MAIN: counted(0.0, 4.0),
        SUM: Timing(Counts(2, 1, 0.0, 4.0), {f: Counts(1, 1, 0.0, 4.0) for f in (MAIN, LEFT)}),
        LEFT: Timing(Counts(1, 1, 0.0, 4.0), {SUM: Counts(1, 1, 0.0, 4.0)}),
        BOTTOM: Timing(Counts(1, 1, 3.0, 3.0), {SUM: Counts(1, 1, 3.0, 3.0)}),
    }
    assert (MAIN, SUM, LEFT, SUM, BOTTOM) in stacks_of(timings)


def test_samples_give_own_and_total_seconds_and_recursion_counts_once():
    timings = timings_of({(MAIN, LEFT, LEFT): 2.0, (MAIN,): 1.0})
    assert timings[MAIN].counts == Counts(0, 0, 1.0, 3.0)
    assert timings[LEFT].counts == Counts(0, 0, 2.0, 2.0)
    assert set(timings[LEFT].callers) == {MAIN, LEFT}


def test_what_only_starts_a_program_is_left_out():
    assert without_runners({(RUN, MAIN): 2.0, (RUN,): 1.0, (MAIN,): 0.5}) == {(MAIN,): 2.5}


def _once():
    return 1


def _thrice():
    return sum(_once() for _ in range(3))


def test_a_recording_travels_and_ranks_are_added():
    with Recording("cprofile") as recording:
        _thrice()
    one = decoded(recording.encoded())
    both = merged([one, one], {0: one, 1: one})
    (calls,) = (row.calls for row in both.functions if row.name == "_once")
    assert calls == 6
    assert both.peak_memory_bytes == one.peak_memory_bytes >= 1 << 20
    assert both.seconds == one.seconds


def test_boxes_stand_on_each_other_as_wide_as_their_time():
    profile = Profile("sampling", 3.0, 0, 1 << 20, {}, {(MAIN, LEFT): 2.0, (MAIN, RIGHT): 1.0})
    picture = ET.fromstring(flamegraph(profile, "a < b & c"))
    space = "{http://www.w3.org/2000/svg}"
    boxes = {
        group.findtext(f"{space}title").partition(":")[0][0]: group.find(f"{space}rect").attrib
        for group in picture.iter(f"{space}g")
    }
    assert float(boxes["l"]["width"]) == pytest.approx(2 * float(boxes["r"]["width"]), abs=0.02)
    assert float(boxes["l"]["x"]) + float(boxes["l"]["width"]) == pytest.approx(
        float(boxes["r"]["x"]), abs=0.11
    )
    assert int(boxes["m"]["y"]) - int(boxes["l"]["y"]) == 18
    assert profile.collapsed().splitlines()[0] == "m (solve.py:1);l (solve.py:2) 2000000"
