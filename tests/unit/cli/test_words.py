from __future__ import annotations

from gridloom.cli.nouns import JOB
from gridloom.cli.screen import table_of
from gridloom.cli.words import short_reason
from gridloom.jobs.info import read_job
from rich.console import Console

from tests.unit.sdk.jobs import examples


def lines(width: int) -> list[str]:
    """Jobs as a terminal of this width shows them."""
    shown = [
        read_job(examples.job("FAILED", reason="main.0 on local: exit code 7")),
        read_job(examples.array({"SUCCEEDED": 86, "FAILED": 14}, "FAILED")),
    ]
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table_of(JOB.columns, shown, width))
    return captured.get().splitlines()


def test_a_narrow_terminal_shows_less_and_cuts_no_column_that_stays():
    for width in (58, 64, 80, 100, 200):
        head, *rows = lines(width)
        assert all(len(line) <= width for line in (head, *rows))
        assert all(examples.JOB in row for row in rows)
        assert "FAILED 100/100" in rows[1]
        assert head.split()[0] == "JOB"
        assert "AGE" in head
        assert "…" not in rows[0].split("FAILED")[0]
    assert "exit code 7" in lines(200)[1]


def test_a_reason_names_neither_the_job_nor_its_only_process():
    one = examples.job("FAILED", reason="main.0 on local: exit code 7")
    assert short_reason(read_job(one)) == "exit code 7"
    many = examples.array({"FAILED": 2}, "FAILED")
    many.reason = f"2 of 2 elements failed; the first was {examples.JOB}.0: main.0 on n1: killed"
    expected = "2 of 2 elements failed; the first was element 0: killed"
    assert short_reason(read_job(many)) == expected
