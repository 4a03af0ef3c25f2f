"""What a process says of itself to its supervisor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from gridloom.worker.supervision import handover
from gridloom.worker.supervision.reports import Reports

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # a supervisor works in its folder
    (tmp_path / handover.REPLICAS).write_text("0 1\n")
    reports = Reports()
    yield reports
    os.close(reports.descriptor)


def said(reports: Reports, *lines: str) -> Reports:
    os.write(reports.descriptor, "".join(f"{line}\n" for line in lines).encode())
    reports.read()
    return reports


def test_it_may_say_why_it_fails(reports):
    said(reports, "failed TIME_LIMIT rank 2 waits in step (solve.py:12)")
    assert reports.verdict == ("TIME_LIMIT", "rank 2 waits in step (solve.py:12)")


def test_the_first_word_on_a_failure_counts(reports):
    said(reports, "failed APPLICATION_ERROR rank 1: exit code 3", "failed TIME_LIMIT late")
    assert reports.verdict == ("APPLICATION_ERROR", "rank 1: exit code 3")


@pytest.mark.parametrize(
    "line", ["failed", "failed TIME_LIMIT", "failed CANCELLED by nobody", "failed x y"]
)
def test_what_is_not_its_to_say_is_left_out(reports, line):
    assert said(reports, line).verdict is None


def test_ends_of_replicas_are_noted_beside_it(reports):
    said(reports, "ended 1 3", "failed APPLICATION_ERROR rank 1")
    assert reports.ended["1"].exit_code == 3
