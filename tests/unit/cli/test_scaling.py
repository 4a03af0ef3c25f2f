"""What `gridloom scaling-study` refuses before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import CommandLine


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give either a command (-- ./solver) or --spec FILE.py:NAME"),
        (("--spec", "a.py:b", "--", "true"), "give either a command"),
        (("--spec", "a.py"), '--spec "a.py" is not FILE.py:NAME'),
        (("--widths", "1;2", "--", "true"), '--widths cannot be "1;2"'),
        (("--widths", "2,1", "--", "true"), "each larger than the one before"),
        (("--mode", "weka", "--", "true"), 'did you mean "weak"'),
        (("--bound", "7", "--", "true"), "a number between 0 and 1"),
        (("--name", "a/b", "--", "true"), "letters, digits, dots"),
    ],
)
def test_wrong_words_are_refused(gridloom: CommandLine, words: tuple[str, ...], said: str):
    ended = gridloom("scaling-study", *words)
    assert ended.code == 2
    assert said in ended.err
    assert ended.out == ""


def test_a_spec_that_is_not_there_is_named(gridloom: CommandLine, tmp_path: Path):
    ended = gridloom("scaling-study", "--spec", f"{tmp_path}/none.py:work")
    assert (ended.code, ended.err) == (1, f"gridloom: there is no file {tmp_path}/none.py\n")
    (tmp_path / "few.py").write_text("number = 7\n")
    ended = gridloom("scaling-study", "--spec", f"{tmp_path}/few.py:work")
    assert (ended.code, ended.err) == (
        1,
        f'gridloom: {tmp_path}/few.py has nothing called "work"\n',
    )
    ended = gridloom("scaling-study", "--spec", f"{tmp_path}/few.py:number")
    assert ended.code == 2
    assert "7 has no width to scale" in ended.err
