"""All there is to say about one job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.cli import documents
from gridloom.cli.nouns import EVENT, JOB, REPLICA
from gridloom.cli.screen import print_table
from gridloom.cli.words import amount
from gridloom.jobs.states import JobState

if TYPE_CHECKING:
    from gridloom.cli.verb import Here
    from gridloom.jobs.handle import Job
    from gridloom.jobs.info import Explanation

_AHEAD_SHOWN = 5


def show_job(here: Here, job: Job) -> None:
    """The sheet; then its replicas where there are several, or why it waits."""
    here.screen.one(JOB, job.info)
    if here.screen.as_json or here.screen.quiet:
        return
    if len(job.info.replicas) > 1:
        print()
        print_table(REPLICA.columns, job.info.replicas)
    if job.info.state in {JobState.HELD, JobState.QUEUED}:
        print()
        print(explanation_text(job.explain()))


def show_events(here: Here, job: Job) -> None:
    """Its history."""
    here.screen.many(EVENT, job.events())


def show_explanation(here: Here, job: Job) -> None:
    """Why it waits."""
    explanation = job.explain()
    if here.screen.as_json:
        here.screen.document(documents.explanation_document(explanation))
    else:
        print(explanation_text(explanation))


def explanation_text(explanation: Explanation) -> str:
    """The sentence, what is short, who is ahead, and when."""
    lines = [explanation.message or explanation.reason.value.lower().replace("_", " ")]
    if explanation.resource:
        asked = amount(explanation.resource, explanation.asked)
        free = amount(explanation.resource, explanation.available)
        lines.append(f"  asks for {asked}, {free} available")
    if explanation.ahead_count:
        shown = ", ".join(explanation.ahead[:_AHEAD_SHOWN])
        more = ", ..." if explanation.ahead_count > _AHEAD_SHOWN else ""
        lines.append(f"  {explanation.ahead_count} ahead: {shown}{more}")
    if explanation.promised_start:
        lines.append(
            f"  starts at {explanation.promised_start.astimezone():%H:%M:%S} at the latest"
        )
    return "\n".join(lines)
