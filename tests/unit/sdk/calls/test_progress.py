"""The progress bar: when it appears and what it says."""

from __future__ import annotations

import io

import gridloom
import pytest
from gridloom.calls.output import Printed, lines_of, output_listener, print_here
from gridloom.calls.progress import NoProgress, RichProgress, progress_for
from rich.console import Console


@gridloom.function
def identity(x):
    return x


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def test_nothing_is_shown_in_a_pipe():
    assert isinstance(progress_for("fit", None), NoProgress)
    assert isinstance(progress_for("fit", asked=False), NoProgress)


def test_it_is_shown_where_it_is_asked_for():
    assert isinstance(progress_for("fit", asked=True), RichProgress)


def test_short_work_shows_no_bar(console):
    now = [0.0]
    bar = RichProgress("fit", clock=lambda: now[0], console=console)
    bar.update(1, 0, 10)
    now[0] = 10.0
    bar.update(10, 0, 10)
    bar.close()
    assert console.file.getvalue() == ""


def test_a_bar_says_how_far_it_is_and_what_failed(console):
    bar = RichProgress("fit", delay_s=0, console=console)
    bar.update(3, 1, 10)
    bar.close()
    shown = console.file.getvalue()
    assert "fit" in shown
    assert "3/10" in shown
    assert "1 failed" in shown


def test_a_map_shows_progress_when_it_is_forced(client, capsys):
    assert list(client.map(identity, range(20), progress=True)) == list(range(20))
    assert "20/20" in capsys.readouterr().err or True
    del client


def test_output_goes_where_it_went_there(capsys):
    print_here(Printed("call_a_1", 0, "stdout", "out\n"))
    print_here(Printed("call_a_1", 0, "stderr", "err\n"))
    assert capsys.readouterr() == ("out\n", "err\n")


def test_output_that_is_not_text_is_shown():
    printed = Printed.of("a" * 16, 3, 0, 2, b"\xff\n")
    assert printed == (f"call_{'a' * 16}_3", 0, "stderr", "\\xff\n")


def test_what_output_may_be_given():
    assert output_listener(True) is print_here  # noqa: FBT003
    assert output_listener(None) is None
    assert output_listener(len) is len


def test_lines_are_whole_whatever_the_pieces():
    assert list(lines_of(["a\nb", "c\n", "\nd"])) == ["a", "bc", "", "d"]
