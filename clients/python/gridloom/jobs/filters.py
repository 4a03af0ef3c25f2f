"""Which jobs are meant: the words of `client.jobs(...)`, `client.watch(...)` and `jobs list`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypedDict

from gridloom.api.scheduler.v1 import job_pb2, scheduler_pb2
from gridloom.errors import InvalidRequestError
from gridloom.jobs.dependencies import Dependencies, job_ids
from gridloom.jobs.states import JobState, state_of
from gridloom.options import check_choice, check_options

Labels: TypeAlias = str | Mapping[str, object]
States: TypeAlias = str | JobState | Iterable[str | JobState]

_GROUPS = {
    "active": (JobState.STARTING, JobState.RUNNING),
    "pending": (JobState.HELD, JobState.QUEUED),
    "unfinished": (JobState.HELD, JobState.QUEUED, JobState.STARTING, JobState.RUNNING),
    "finished": (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED),
}
_STATE_WORDS = (*(state.value.lower() for state in JobState), *_GROUPS)


class JobFilter(TypedDict, total=False):
    """What a job must be to be listed; all words together.

    `state` is one of the states or "active", "pending", "unfinished", "finished", or a list;
    `labels` is `{"study": "a"}` or a selector of kubectl's syntax ("study=a,step!=3,!draft").
    """

    state: States
    labels: Labels
    queue: str
    project: str
    owner: str
    kind: str
    ids: Dependencies


FILTER_NAMES = tuple(JobFilter.__annotations__)


def filter_message(words: JobFilter) -> scheduler_pb2.JobFilter:
    """The filter as it travels; a word that does not exist is refused."""
    check_options(words, FILTER_NAMES)
    return scheduler_pb2.JobFilter(
        project=words.get("project", ""),
        queue=words.get("queue", ""),
        owner=words.get("owner", ""),
        kind=words.get("kind", ""),
        states=[
            job_pb2.JobState.Value(f"JOB_STATE_{state.name}")
            for state in states_of(words.get("state", ()))
        ],
        label_selector=selector_of(words.get("labels", "")),
        job_ids=job_ids(words.get("ids", ()), field="ids"),
    )


def states_of(given: States) -> list[JobState]:
    """The states that are meant, each once."""
    if isinstance(given, str):
        given = given.replace(",", " ").split()
    found: dict[JobState, None] = {}
    for word in given:
        check_choice("state", word.lower(), _STATE_WORDS)
        found.update(dict.fromkeys(_GROUPS.get(word.lower()) or (state_of(word),)))
    return list(found)


def selector_of(labels: Labels) -> str:
    """Labels as a selector: every one of a mapping must be there with its value."""
    if isinstance(labels, str):
        return labels
    for key, value in labels.items():
        if any(sign in f"{key}{value}" for sign in "=,!()"):
            raise InvalidRequestError(f"labels cannot hold {key}={value}", field="labels")
    return ",".join(f"{key}={value}" for key, value in labels.items())
