"""What `gridloom run` does: from its options to a job, and with the job to its end."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from gridloom import units
from gridloom.cli import exits
from gridloom.cli.nouns import JOB
from gridloom.cli.screen import complain
from gridloom.cli.stdin import kept_input, own_input
from gridloom.cli.streaming import is_alone, mark_of, write_piece
from gridloom.errors import GridloomError, InvalidRequestError
from gridloom.interrupt import as_interrupt
from gridloom.jobs import operations
from gridloom.jobs.logs import LineReading, LogQuery, LogReading
from gridloom.jobs.outcome import failed_numbers, name_of
from gridloom.jobs.states import JobState
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from gridloom.cli.verb import Here
    from gridloom.jobs.handle import Job
    from gridloom.jobs.info import JobInfo
    from gridloom.jobs.options import JobOptions

SECOND_CHANCE_S = 2.0
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Submission:
    """What was asked for on the command line."""

    words: Mapping[str, Any]
    output_dir: str
    detach: bool
    # None: send ours along unless it is a terminal.
    stdin: bool | None = False


def run_job(here: Here, asked: Submission) -> int:
    """Submit and, unless detached, stay until the end; the exit code."""
    try:
        command, options = job_words(asked.words)
        with kept_input(own_input(), wanted=asked.stdin) as stdin:
            if stdin is not None:
                options["stdin"] = stdin
            job = here.client.run(command, **options)
    except GridloomError as error:
        complain(f"gridloom: {error}")
        return exits.RUN_FAILED
    if asked.words["validate_only"]:
        here.screen.settled({"valid": True}, "valid: nothing was submitted")
        return exits.DONE
    if asked.detach or here.screen.as_json:
        here.screen.done(JOB, [job.info], lambda info: info.id)
        return exits.DONE
    return attended(job, lambda: _shown(here, job, asked))


def attended(job: Job, show: Callable[[], int]) -> int:
    """What `show` answers, which follows the job to its end; unless that is interrupted."""
    try:
        with as_interrupt():
            return show()
    except KeyboardInterrupt:
        return _interrupted(job)
    except GridloomError as error:
        complain(f"gridloom: {error}\ngridloom: {job.id} goes on: {come_back(job)}")
        return exits.RUN_FAILED


def _shown(here: Here, job: Job, asked: Submission) -> int:
    show_until_over(here, job)
    return _ended(here, job, asked)


def job_words(words: Mapping[str, Any]) -> tuple[list[str] | str, JobOptions]:
    """The options of the command line as the words of `client.run`."""
    # A 0 that was said is no word left out: it is refused where it makes no sense.
    said = {word: value for word, value in words.items() if value or _is_number(value)}
    command = said.pop("command")
    options: dict[str, Any] = {
        word: said[word] for word in said if word not in {"label", "env", "file", "output"}
    }
    options["labels"] = pairs(said.get("label", []), "--label")
    options["env"] = environment_of(said.get("env", []), os.environ)
    options["files"] = sources(said.get("file", []))
    options["outputs"] = said.get("output", [])
    for word in ("start_after", "deadline"):
        if word in options:
            options[word] = point_of(options[word])
    return (" ".join(command) if said.get("shell") else command), cast("JobOptions", options)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """Each is KEY=VALUE."""
    for text in given:
        if "=" not in text:
            raise InvalidRequestError(f'{option} "{text}" is not KEY=VALUE', given=text)
    return dict(text.split("=", 1) for text in given)


def environment_of(given: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Each is NAME=VALUE, or NAME for the value that it has here."""
    found = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator and name not in environment:
            raise InvalidRequestError(f'--env "{name}" has no value here', given=name)
        found[name] = value if separator else environment[name]
    return found


def sources(given: Sequence[str]) -> list[str] | dict[str, str | Path | bytes]:
    """Paths, or names and paths where a name is given: "config.json=/etc/app/config.json"."""
    if not any("=" in text for text in given):
        return list(given)
    named: dict[str, str | Path | bytes] = {}
    for text in given:
        name, separator, path = text.partition("=")
        named[name] = path if separator else text
    return named


def point_of(given: str) -> datetime | str:
    """A point such as "+10m" from now, or ISO 8601: in local time where it has no zone."""
    if given.startswith("+"):
        ahead = timedelta(seconds=units.seconds(given[1:], field="start_after"))
        return datetime.now(UTC) + ahead
    try:
        return datetime.fromisoformat(given).astimezone()
    except ValueError:
        return given


def show_until_over(here: Here, job: Job) -> None:
    """A spinner while it waits, then what it writes, then its end."""
    _wait_for_start(here, job)
    connection = here.client.connection
    query = LogQuery(job.id, follow=True)
    if is_alone(job.info):
        for piece in connection.follow(LogReading(query)):
            write_piece(piece)
    else:
        for line in connection.follow(LineReading(query)):
            out = sys.stderr if line.source.is_error else sys.stdout
            print(f"{mark_of(job.info, line.source)}{line.text}", file=out, flush=True)
    connection.run(operations.wait([job.id], None))
    job.refresh()


def _wait_for_start(here: Here, job: Job) -> None:
    """Where a person looks, say why it has not started; anybody else just waits for output."""
    if not sys.stderr.isatty():
        return
    with here.screen.busy(f"{job.id} waits") as update:
        while job.refresh().state in {JobState.HELD, JobState.QUEUED}:
            update(f"{job.id} waits: {job.explain()}")
            time.sleep(_LOOK_EVERY_S)


def unmatched(patterns: Iterable[str], paths: Iterable[str]) -> list[str]:
    """The patterns of outputs that nothing which was brought back answers to."""
    from pathlib import PurePosixPath

    files = [PurePosixPath(path) for path in paths]
    known = {above for path in files for above in (path, *path.parents)}
    return [
        given
        for given in patterns
        if not any(path.match(given) for path in known)
        # Of folders at any depth only that nothing came at all is told.
        and not (files and "**" in given)
    ]


def _ended(here: Here, job: Job, asked: Submission) -> int:
    """Bring the outputs, say what went wrong, and answer with the command's own code."""
    for path in job.outputs.save(asked.output_dir):
        here.screen.say(f"gridloom: brought {path}")
    info = job.info
    if info.state is JobState.SUCCEEDED:
        for pattern in unmatched(asked.words["output"], [each.path for each in info.outputs]):
            complain(f'gridloom: it left no file "{pattern}"')
        return exits.DONE
    culprit = info
    if numbers := failed_numbers(info):
        culprit = job.element(numbers[0]).info
    code = exits.process_exit_code(culprit.exit_code, culprit.signal)
    if not _speaks_for_itself(info):
        failure = here.client.connection.run(operations.failure(info, with_log=False))
        complain(f"gridloom: {failure}")
    return code


def _speaks_for_itself(job: JobInfo) -> bool:
    """One command that ran and ended by itself with a code: it has said why."""
    has_spoken = job.started_at is not None and bool(job.exit_code) and not job.signal
    return is_alone(job) and job.state is JobState.FAILED and has_spoken


def _interrupted(job: Job) -> int:
    """The first Ctrl-C leaves the job running; a second one within a moment cancels it."""
    complain(f"\n{name_of(job.info)} goes on. Come back with: {come_back(job)}")
    try:
        if sys.stdin.isatty():
            complain(f"Press Ctrl-C again within {SECOND_CHANCE_S:g} s to cancel it.")
            time.sleep(SECOND_CHANCE_S)
    except KeyboardInterrupt:
        job.cancel(reason="Ctrl-C in `gridloom run`")
        complain(f"{job.id} is cancelled.")
    return exits.INTERRUPTED


def come_back(job: Job) -> str:
    """How to see the job again."""
    return f"gridloom jobs logs -f {job.id}"
