"""A job in a few words: for `repr`, and as a small table in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gridloom import units

if TYPE_CHECKING:
    from gridloom.jobs.info import JobInfo


def job_text(job_id: str, job: JobInfo | None) -> str:
    """Id, state, age and name."""
    if job is None:
        return f"<Job {job_id or '(not submitted)'}>"
    age = units.format_duration(job.age_s())
    return f"<Job {job_id or '(not submitted)'} {state_words(job)}, {age} old, {job.name!r}>"


def state_words(job: JobInfo) -> str:
    """The state; for an array how many elements are in which."""
    if not job.elements:
        return job.state.value
    counts = ", ".join(f"{count} {state.value}" for state, count in job.counts().items())
    return f"{job.state.value} ({counts})"


def job_rows(job: JobInfo) -> list[tuple[str, str]]:
    """What a person wants to know first, as names and values."""
    rows = [
        ("state", state_words(job)),
        ("name", job.name),
        ("queue", f"{job.project}/{job.queue}"),
        ("age", units.format_duration(job.age_s())),
    ]
    if (run_s := job.run_s()) is not None:
        rows.append(("run", units.format_duration(run_s)))
    if job.peak_memory_bytes:
        rows.append(("peak memory", units.format_bytes(job.peak_memory_bytes)))
    if job.reason:
        rows.append(("reason", job.reason))
    return rows


def job_html(job_id: str, job: JobInfo | None) -> str:
    """A small table for a notebook."""
    rows = [("job", job_id), *(job_rows(job) if job else [])]
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in rows
    )
    return f"<table>{cells}</table>"
