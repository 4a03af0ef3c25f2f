"""A job's output as it is read: pieces of several streams, each byte once, and their lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom import units
from gridloom.api.scheduler.v1 import scheduler_pb2
from gridloom.operation import Call
from gridloom.options import check_choice
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gridloom.jobs.info import JobInfo

_STREAMS = {
    "stdout": scheduler_pb2.LOG_STREAM_STDOUT,
    "stderr": scheduler_pb2.LOG_STREAM_STDERR,
    "both": scheduler_pb2.LOG_STREAM_UNSPECIFIED,
}
# A program that never ends its line is shown in pieces: what waits here is bounded.
_LONGEST_LINE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """Who wrote it."""

    element: int
    role: str
    index: int
    is_error: bool
    attempt: int


@dataclass(frozen=True, slots=True)
class LogPiece:
    """Some bytes of one stream, in order and without gaps within it."""

    source: Source
    data: bytes


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, without its end."""

    source: Source
    text: str


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which part of a job's output: what `logs()` and `gridloom jobs logs` take."""

    job_id: str
    follow: bool = False
    role: str | None = None
    index: int | None = None
    tail: int | None = None
    stream: str = "both"
    attempt: int | None = None

    def request(self) -> scheduler_pb2.ReadLogsRequest:
        """As it travels, from the beginning."""
        check_choice("stream", self.stream, _STREAMS)
        request = scheduler_pb2.ReadLogsRequest(
            job_id=self.job_id,
            role=self.role or "",
            stream=_STREAMS[self.stream],
            follow=self.follow,
            tail_lines=units.whole(self.tail or 0, field="tail"),
            attempt=units.whole(self.attempt or 0, field="attempt"),
        )
        if self.index is not None:
            request.index = units.whole(self.index, field="index")
        return request


def checked(query: LogQuery, job: JobInfo) -> LogQuery:
    """The query, refused where the job has no such role or replica: it would stay empty."""
    roles = {role.name: role.replicas for role in job.roles}
    if query.role:
        check_choice("role", query.role, roles)
    # The replicas of a pool come and go, and none has the number of another.
    if query.index is not None and job.kind != "pool":
        meant = [query.role] if query.role else list(roles)
        most = max((roles[name] for name in meant), default=1)
        units.whole(query.index, field="index", most=most - 1)
    return query


class LogReading:
    """A `Following` of log pieces: each byte comes once, however often the stream breaks off."""

    def __init__(self, query: LogQuery) -> None:
        self._request = query.request()
        self._next_offsets: dict[Source, int] = {}
        self._is_over = False

    def call(self) -> Call:
        """From the first byte that is missing of any stream; what comes twice is left out."""
        request = scheduler_pb2.ReadLogsRequest()
        request.CopyFrom(self._request)
        if self._next_offsets:
            request.tail_lines = 0
            request.offset = min(self._next_offsets.values())
        return Call("scheduler", "ReadLogs", request)

    def feed(self, answer: scheduler_pb2.ReadLogsResponse) -> Iterable[LogPiece]:
        """The new part of what the platform sent."""
        source = Source(
            answer.element,
            answer.role,
            answer.index,
            answer.stream == scheduler_pb2.LOG_STREAM_STDERR,
            answer.attempt,
        )
        known = self._next_offsets.get(source, answer.offset)
        end = answer.offset + len(answer.data)
        self._next_offsets[source] = max(known, end)
        if end > known:
            yield LogPiece(source, answer.data[max(0, known - answer.offset) :])

    def finish(self) -> Iterable[LogPiece]:
        """Nothing is held back."""
        self._is_over = True
        return ()

    @property
    def over(self) -> bool:
        """The platform has ended the stream: there is no more."""
        return self._is_over


class LineReading:
    """The same in whole lines; the last one also where its end is missing."""

    def __init__(self, query: LogQuery) -> None:
        self._pieces = LogReading(query)
        self._rests: dict[Source, bytes] = {}

    def call(self) -> Call:
        """Where the pieces go on."""
        return self._pieces.call()

    def feed(self, answer: scheduler_pb2.ReadLogsResponse) -> Iterator[LogLine]:
        """The lines that this answer completes."""
        for piece in self._pieces.feed(answer):
            *lines, rest = (self._rests.pop(piece.source, b"") + piece.data).split(b"\n")
            if len(rest) > _LONGEST_LINE_BYTES:
                lines.append(rest)
            elif rest:
                self._rests[piece.source] = rest
            for line in lines:
                yield _line(piece.source, line)

    def finish(self) -> Iterator[LogLine]:
        """Lines without an end."""
        self._pieces.finish()
        rests, self._rests = self._rests, {}
        for source, rest in sorted(rests.items()):
            yield _line(source, rest)

    @property
    def over(self) -> bool:
        """There is no more."""
        return self._pieces.over


def _line(source: Source, line: bytes) -> LogLine:
    return LogLine(source, line.removesuffix(b"\r").decode("utf-8", "replace"))
