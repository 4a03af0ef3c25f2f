"""What `gridloom mpi run` does: the way of `gridloom run`, with ranks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from gridloom.cli import exits
from gridloom.cli.nouns import JOB
from gridloom.cli.running import attended, job_words
from gridloom.cli.screen import complain
from gridloom.cli.stdin import kept_input, own_input
from gridloom.errors import GridloomError
from gridloom.jobs import operations as job_operations
from gridloom.jobs.logs import LogQuery
from gridloom.jobs.states import JobState
from gridloom.mpi_jobs import operations
from gridloom.mpi_jobs.logs import RankReading

if TYPE_CHECKING:
    from gridloom.cli.running import Submission
    from gridloom.cli.verb import Here
    from gridloom.jobs.handle import Job
    from gridloom.mpi_jobs.options import MpiOptions


def run_mpi_job(here: Here, asked: Submission, *, tag_output: bool) -> int:
    """Submit and, unless detached, stay until the end; the exit code."""
    try:
        command, words = job_words(asked.words)
        options: dict[str, Any] = dict(words)
        with kept_input(own_input(), wanted=asked.stdin) as stdin:
            if stdin is not None:
                options["stdin"] = stdin
            job = here.client.mpi.run(command, **cast("MpiOptions", options))
    except GridloomError as error:
        complain(f"gridloom: {error}")
        return exits.RUN_FAILED
    if asked.words["validate_only"]:
        here.screen.settled({"valid": True}, "valid: nothing was submitted")
        return exits.DONE
    if asked.detach or here.screen.as_json:
        here.screen.done(JOB, [job.info], lambda info: info.id)
        return exits.DONE
    return attended(job, lambda: _ended(here, job, asked, tag_output=tag_output))


def _ended(here: Here, job: Job, asked: Submission, *, tag_output: bool) -> int:
    """Show what ranks write until it is over, then why it failed, if it did; the exit code."""
    for line in here.client.connection.follow(RankReading(LogQuery(job.id, follow=True))):
        mark = f"[{line.rank}] " if tag_output and line.rank is not None else ""
        print(f"{mark}{line.text}", file=sys.stderr if line.is_error else sys.stdout, flush=True)
    here.client.connection.run(job_operations.wait([job.id], None))
    info = job.refresh()
    for path in job.outputs.save(asked.output_dir):
        here.screen.say(f"gridloom: brought {path}")
    if info.state is JobState.SUCCEEDED:
        return exits.DONE
    failure = here.client.connection.run(operations.failure(info))
    complain(f"gridloom: {getattr(failure, 'message', failure)}")
    return exits.process_exit_code(info.exit_code, info.signal)
