"""What CI says at its end is what its runs of pytest came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import tally

if TYPE_CHECKING:
    from pathlib import Path

_CASE = '<testcase classname="tests.unit.test_a" name="{name}">{ended}</testcase>'
_ENDS = {"passed": "", "failed": "<failure/>", "broken": "<error/>", "skipped": "<skipped/>"}


def _write(folder: Path, file: str, **cases: str) -> None:
    inside = "".join(_CASE.format(name=name, ended=_ENDS[end]) for name, end in cases.items())
    (folder / file).write_text(f"<testsuites><testsuite>{inside}</testsuite></testsuites>")


def test_what_failed_and_passed_when_it_was_alone_has_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    _write(tmp_path, "old.xml", one="passed", two="failed", three="skipped")
    _write(tmp_path, "old.again.xml", two="passed")
    _write(tmp_path, "new.xml", one="passed")
    assert tally.main(str(tmp_path)) == 0
    assert capsys.readouterr().out == "tests: 3 passed, 0 failed, 1 skipped\n"


@pytest.mark.parametrize("end", ["failed", "broken"])
def test_a_failure_in_one_suite_is_not_mended_by_another(tmp_path: Path, end: str):
    _write(tmp_path, "old.xml", one="passed", two=end)
    _write(tmp_path, "new.xml", two="passed")
    assert tally.main(str(tmp_path)) == 1


def test_no_test_at_all_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert tally.main(str(tmp_path)) == 1
    assert capsys.readouterr().out == "tests: 0 passed, 0 failed, 0 skipped\n"
