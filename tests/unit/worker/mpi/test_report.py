"""What ranks say and leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gridloom.worker.mpi.call import RankCall
from gridloom.worker.mpi.folder import RankFolder
from gridloom.worker.mpi.names import ERROR, VALUE, answer_name
from gridloom.worker.mpi.report import Answer, Failure, Report, decoded
from gridloom.worker.mpi.stacks import place_of
from gridloom.worker.mpi.tagging import Tagger
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

TOLD = """Current thread 0x7f (most recent call first):
  File "/home/ada/solve.py", line 12 in step
  File "/x/gridloom/worker/mpi/rank.py", line 80 in run
"""
SPIED = """Process 7: python solve.py
Thread 7 (active)
    barrier (gridloom/worker/mpi/rank.py:3)
    step (solve.py:12)
"""


@given(st.lists(st.binary(max_size=50)))
def test_a_report_comes_back_as_it_was(contents):
    answers = tuple(Answer(rank, VALUE, data) for rank, data in enumerate(contents))
    report = Report(answers, Failure("rank 1: bad", 1, stacks={"0": "here"}))
    assert decoded(report.encoded()) == report


def test_a_report_without_a_failure_has_none():
    assert decoded(Report(()).encoded()) == Report(())


@given(st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=9)), max_size=20))
def test_each_rank_s_bytes_stand_in_its_lines_whatever_the_pieces(pieces):
    tagger, said = Tagger(), b""
    for rank, data in pieces:
        said += tagger.feed(rank, data)
    said += tagger.finish()
    for rank in range(3):
        written = b"".join(data for each, data in pieces if each == rank)
        mark = b"[%d] " % rank
        lines = [line.removeprefix(mark) for line in said.split(b"\n") if line.startswith(mark)]
        assert lines == ([*written.removesuffix(b"\n").split(b"\n")] if written else [])


def test_a_line_that_never_ends_comes_in_parts():
    assert Tagger().feed(0, b"x" * 70_000).startswith(b"[0] xxx")


def test_the_last_lines_of_each_rank_are_known():
    tagger = Tagger()
    tagger.feed(1, b"".join(b"%d\n" % number for number in range(100)))
    assert tagger.last[1][-1] == b"99"
    assert len(tagger.last[1]) == 20


def test_a_call_is_complete_when_every_rank_has_answered(tmp_path: Path):
    call = RankCall(0, 2, tmp_path)
    call.answered(1, VALUE, "")
    assert (call.is_complete, call.missing()) == (False, [0])
    call.answered(0, VALUE, "")
    assert call.is_complete


def test_the_first_error_is_the_one_that_counts(tmp_path: Path):
    call = RankCall(0, 3, tmp_path)
    call.answered(2, ERROR, "ValueError: x")
    call.answered(0, ERROR, "KeyError: y")
    failure = call.failure()
    assert failure is not None
    assert (failure.rank, failure.reason) == (2, "rank 2: ValueError: x")


def test_a_report_takes_the_answers_from_their_files(tmp_path: Path):
    call = RankCall(4, 2, tmp_path, root_only=True)
    for rank in (0, 1):
        (tmp_path / answer_name(4, rank)).write_bytes(b"abc")
        call.answered(rank, VALUE, "")
    assert [answer.data for answer in call.report(None).answers] == [b"abc", b""]


@pytest.mark.parametrize(("code", "signal"), [(0, 0), (3, 0), (127, 0), (139, 11), (255, 0)])
def test_a_shell_s_exit_code_tells_a_signal(tmp_path: Path, code, signal):
    folder = RankFolder(tmp_path, range(2))
    (tmp_path / "exit.1").write_text(f"{code}\n")
    (end,) = folder.exits()
    assert (end.rank, end.code, end.signal) == (1, code, signal)


@pytest.mark.parametrize("stack", [TOLD, SPIED])
def test_a_place_is_the_innermost_of_the_user_s_own(stack):
    assert place_of(stack) == "step (solve.py:12)"


def test_where_there_is_no_python_the_system_s_word_is_the_place():
    assert place_of("solver (process 9): R (running)") == "solver (process 9): R (running)"
