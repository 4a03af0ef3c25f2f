from __future__ import annotations

from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.jobs.logs import LineReading, LogQuery, LogReading
from hypothesis import given
from hypothesis import strategies as st

OUT, ERR = pb.LOG_STREAM_STDOUT, pb.LOG_STREAM_STDERR


def piece(offset: int, data: bytes, stream: int = OUT, **more: int) -> pb.ReadLogsResponse:
    return pb.ReadLogsResponse(role="main", stream=stream, offset=offset, data=data, **more)  # type: ignore[arg-type]


def test_a_query_becomes_a_request():
    request = LogQuery("job_1", follow=True, role="w", index=0, tail=5, stream="stderr").request()
    assert (request.follow, request.role, request.index, request.tail_lines) == (True, "w", 0, 5)
    assert request.HasField("index")
    assert request.stream == ERR
    assert not LogQuery("job_1").request().HasField("index")


def test_lines_come_whole_however_they_were_cut():
    reading = LineReading(LogQuery("job_1"))
    lines = [
        line.text
        for answer in (piece(0, b"a\nb"), piece(3, b"c\r\n"), piece(6, b"rest"))
        for line in reading.feed(answer)
    ]
    assert lines == ["a", "bc"]
    assert [line.text for line in reading.finish()] == ["rest"]
    assert reading.over


def test_streams_do_not_mix():
    reading = LineReading(LogQuery("job_1"))
    assert not list(reading.feed(piece(0, b"out")))
    assert [line.text for line in reading.feed(piece(0, b"err\n", ERR))] == ["err"]
    assert [line.text for line in reading.feed(piece(3, b"put\n"))] == ["output"]


def test_a_line_without_end_is_given_in_pieces():
    reading = LineReading(LogQuery("job_1"))
    data = b"x" * 600_000
    lines = [*reading.feed(piece(0, data)), *reading.feed(piece(len(data), data))]
    assert [len(line.text) for line in lines] == [1_200_000]


def test_after_a_break_the_reading_goes_on_from_the_stream_that_is_behind():
    reading = LogReading(LogQuery("job_1", follow=True, tail=3))
    assert reading.call().request.tail_lines == 3  # type: ignore[attr-defined]
    list(reading.feed(piece(100, b"0123456789")))
    list(reading.feed(piece(40, b"01234", ERR)))
    request = reading.call().request
    assert request.offset == 45  # type: ignore[attr-defined]
    assert request.tail_lines == 0  # type: ignore[attr-defined]
    assert [p.data for p in reading.feed(piece(45, b"x" * 70))] == [b"x" * 5]
    assert [p.data for p in reading.feed(piece(45, b"new", ERR))] == [b"new"]


def test_attempts_and_elements_have_streams_of_their_own():
    reading = LogReading(LogQuery("job_1"))
    answers = (piece(0, b"one", attempt=1), piece(0, b"two", attempt=2), piece(0, b"x", element=1))
    assert [p.data for a in answers for p in reading.feed(a)] == [b"one", b"two", b"x"]


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20))))
def test_each_byte_comes_once_however_often_it_is_sent(
    text: bytes, sendings: list[tuple[int, int]]
):
    reading = LogReading(LogQuery("job_1"))
    got = b""
    for start, length in [(0, 1), *sendings, (0, 60)]:
        # A platform sends from where it was asked or before, never from beyond.
        begin = min(start, len(got))
        got += b"".join(p.data for p in reading.feed(piece(begin, text[begin : begin + length])))
    assert got == text
