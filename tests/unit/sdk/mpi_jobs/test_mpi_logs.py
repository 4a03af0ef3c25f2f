"""Lines of ranks out of the stream that they share."""

from __future__ import annotations

import pytest
from gridloom.api.scheduler.v1 import scheduler_pb2
from gridloom.jobs.logs import LogLine, LogQuery, Source
from gridloom.mpi_jobs.logs import RankLine, RankReading, rank_line

SHARED = b"[0] a\n[1] b\n[mpiexec] c\n[1] d\n[0] e"


def read(**words) -> list[RankLine]:
    reading = RankReading(LogQuery("job_1", **words))
    answer = scheduler_pb2.ReadLogsResponse(role="rank", data=SHARED, stream=1)
    return [*reading.feed(answer), *reading.finish()]


def test_every_line_has_its_rank():
    assert [line.rank for line in read()] == [0, 1, None, 1, 0]


def test_one_rank_s_lines_can_be_had():
    assert [line.text for line in read(index=1)] == ["b", "d"]


def test_the_last_lines_of_one_rank_are_its_own():
    assert [line.text for line in read(index=1, tail=1)] == ["d"]


@pytest.mark.parametrize("text", ["plain", "[3]x", "[x] y", "[mpiexec] z"])
def test_what_the_launcher_says_stays_whole(text):
    source = Source(0, "rank", 0, is_error=True, attempt=1)
    line = rank_line(LogLine(source, text))
    assert line.rank == (3 if text == "[3]x" else None)
    assert line.rank is not None or line.text == text
