"""What comes bit by bit: logs, changes, the output of a command beside a job."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from gridloom.cli.documents import change_document, line_document
from gridloom.cli.screen import Noun
from gridloom.cli.words import job_state, short_reason
from gridloom.errors import UnavailableError
from gridloom.jobs.execution import exec_requests, run_command
from gridloom.jobs.logs import LineReading, LogLine, LogPiece, LogQuery, LogReading, Source, checked
from gridloom.mpi_jobs.logs import MPI, RankReading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gridloom.cli.verb import Here
    from gridloom.jobs.filters import JobFilter
    from gridloom.jobs.handle import Job
    from gridloom.jobs.info import JobChange, JobInfo

_READ_BYTES = 64 * 1024

CHANGE: Noun[JobChange] = Noun(
    "change",
    columns=(),
    document=change_document,
    identifier=lambda change: change.job.id,
)

LINE: Noun[LogLine] = Noun(
    "line",
    columns=(),
    document=line_document,
    identifier=lambda line: line.text,
)


def print_logs(here: Here, job: Job, query: LogQuery) -> None:
    """One process's output as it is; lines of several with whose they are before them."""
    checked(query, job.info)
    if here.screen.as_json:
        for line in here.client.connection.follow(LineReading(query)):
            here.screen.line(LINE, line, "")
        return
    if job.info.kind == MPI:
        _print_rank_lines(here, query)
        return
    if is_alone(job.info) or query.index is not None:
        for piece in here.client.connection.follow(LogReading(query)):
            write_piece(piece)
        return
    for line in here.client.connection.follow(LineReading(query)):
        out = sys.stderr if line.source.is_error else sys.stdout
        print(f"{mark_of(job.info, line.source)}{line.text}", file=out, flush=True)


def _print_rank_lines(here: Here, query: LogQuery) -> None:
    """Of one rank as they are; of all, with the rank before each."""
    for line in here.client.connection.follow(RankReading(query)):
        mark = "" if line.rank is None or query.index is not None else f"[{line.rank}] "
        out = sys.stderr if line.is_error else sys.stdout
        print(f"{mark}{line.text}", file=out, flush=True)


def is_alone(job: JobInfo) -> bool:
    """One process only writes its logs."""
    is_array = job.elements > 0 and job.element is None
    return not is_array and sum(role.replicas for role in job.roles) <= 1


def mark_of(job: JobInfo, source: Source) -> str:
    """Whose line it is: "[7] ", "worker.2 | "."""
    element = f"[{source.element}] " if job.elements and job.element is None else ""
    is_gang = sum(role.replicas for role in job.roles) > 1
    return f"{element}{source.role}.{source.index} | " if is_gang else element


def write_piece(piece: LogPiece) -> None:
    """Bytes as they came, to the stream that they were written to."""
    write_bytes(sys.stderr.buffer if piece.source.is_error else sys.stdout.buffer, piece.data)


def write_bytes(out: BinaryIO, data: bytes) -> None:
    """At once: whoever looks wants to see it now."""
    out.write(data)
    out.flush()


def print_changes(here: Here, jobs: Sequence[str], chosen: JobFilter, from_revision: int) -> None:
    """A line a change; until the jobs named are over, else for ever."""
    if jobs:
        chosen = {**chosen, "ids": list(jobs)}
    open_jobs = set(jobs)
    for change in here.client.watch(from_revision=from_revision, **chosen):
        # A person wants to see what goes on, not everything that ever was.
        is_past = change.snapshot and change.job.state.is_final and not jobs
        if here.screen.as_json or not is_past:
            here.screen.line(CHANGE, change, _change_text(change))
        if change.job.state.is_final:
            open_jobs.discard(change.job.id)
        if jobs and not open_jobs:
            return


def _change_text(change: JobChange) -> str:
    from rich.markup import escape

    word, style = job_state(change.job)
    now = datetime.now().astimezone().strftime("%H:%M:%S")
    reason = f"  [dim]{escape(short_reason(change.job))}[/]" if change.job.reason else ""
    state = f"[{style}]{word:<10}[/]"
    return f"[dim]{now}[/]  {change.job.id}  {state}  {escape(change.job.name)}{reason}"


def exec_with_terminal(
    here: Here, job_id: str, command: Sequence[str], role: str, index: int
) -> int:
    """Our input to the command, its output to ours; its exit code."""
    requests = exec_requests(job_id, command, role, index, _standard_input())
    for answer in run_command(here.client.connection, requests):
        match answer.WhichOneof("part"):
            case "stdout":
                write_bytes(sys.stdout.buffer, answer.stdout)
            case "stderr":
                write_bytes(sys.stderr.buffer, answer.stderr)
            case "exit_code":
                return answer.exit_code
    raise UnavailableError("the stream ended before the command did")


def _standard_input() -> Iterator[bytes]:
    """What is piped or typed in, as it comes."""
    while data := os.read(sys.stdin.fileno(), _READ_BYTES):
        yield data
