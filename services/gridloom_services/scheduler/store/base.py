"""What a store of jobs promises, and the values that go through its door."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridloom_services.scheduler.job import (
        Event,
        GangEnd,
        Job,
        KeptStream,
        LiveGang,
        Promise,
        Tries,
    )
    from gridloom_services.scheduler.query import JobQuery
    from gridloom_services.scheduler.queue import Queue

# (the job's sequence, the element's position)
Unit = tuple[int, int]

# Among jobs in the order of their ends: (when it ended, its sequence).
Place = tuple[int, int]
BEGINNING: Place = (0, 0)


@dataclass(slots=True)
class Changes:
    """What one transaction writes. In a mapping, None takes the row away."""

    added: dict[int, Job] = field(default_factory=dict)
    changed: dict[int, Job] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    gangs: dict[Unit, LiveGang | None] = field(default_factory=dict)
    ends: list[GangEnd] = field(default_factory=list)
    tries: dict[Unit, Tries] = field(default_factory=dict)
    queues: dict[tuple[str, str], Queue | None] = field(default_factory=dict)
    promises: dict[tuple[str, int], Promise | None] = field(default_factory=dict)

    def put_job(self, job: Job) -> None:
        """Take note of a job that is new or has changed."""
        (self.added if job.sequence in self.added else self.changed)[job.sequence] = job

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that is not over: what a restart begins with.

    `sequence` and `revision` are the highest ever given.
    """

    jobs: tuple[Job, ...]
    gangs: tuple[LiveGang, ...]
    tries: dict[Unit, Tries]
    queues: tuple[Queue, ...]
    promises: tuple[Promise, ...]
    sequence: int
    revision: int


class StaleEpochError(Exception):
    """Another scheduler has taken over this store; this one must not go on."""


class Store(Protocol):
    """The durable truth about jobs.

    One writer. What `write` was given is on disk when it returns, all of it or (after a crash)
    none; a write that the disk refuses ends the process. Readers see whole writes only.
    """

    async def load(self) -> Contents:
        """Return everything that is not over, jobs in the order of their acceptance."""

    async def write(self, changes: Changes) -> None:
        """Make these changes durable, together."""

    async def jobs(self, job_ids: frozenset[str]) -> dict[str, Job]:
        """Return those of the jobs that exist, by id."""

    async def requests(self, project: str, request_ids: frozenset[str]) -> dict[str, Job]:
        """Return the jobs that these requests made, by request id."""

    async def page(self, query: JobQuery, before: int | None, limit: int) -> list[Job]:
        """Return jobs with a sequence below `before` (None: all), the newest first."""

    async def ends(self, sequence: int, element: int | None = None) -> list[GangEnd]:
        """Return the ended attempts of a job or one element, by element, then attempt."""

    async def last_ends(self, sequences: frozenset[int]) -> dict[int, GangEnd]:
        """Return the newest ended attempt of the first element of each job."""

    async def history(
        self, sequence: int, after: int, limit: int, element: int | None = None
    ) -> list[Event]:
        """Return a job's events above the revision `after`, oldest first.

        With an element, those that touch it, and those of the job as a whole.
        """

    async def events_after(self, revision: int, limit: int) -> list[Event]:
        """Return events of all jobs above a revision, oldest first."""

    async def keep_streams(self, gang: str, streams: Mapping[str, KeptStream]) -> None:
        """Keep by gang and name where streams are. Durable; again: the same."""

    async def kept_stream(self, gang: str, name: str) -> KeptStream | None:
        """Return where a stream is; None: it was not kept."""

    async def compacted(self) -> int:
        """Return the newest revision whose event is gone; 0: none is."""

    async def compact(self, before_us: int, limit: int, after: Place = BEGINNING) -> Place | None:
        """Let go of at most `limit` events of jobs that ended before then, oldest first.

        Jobs up to `after` are passed over. Returns where to go on; None: there is no more. What is
        gone is below or at `compacted` from the same moment on.
        """

    async def horizon(self, before_us: int, most: int) -> int:
        """Return when jobs must have ended to go.

        That is `before_us`, or later where more than `most` have ended since.
        """

    async def prune(self, before_us: int, limit: int, spared: frozenset[str]) -> int:
        """Remove about `limit` rows of the jobs that ended before then, oldest first; how many.

        With a job go its events, ends, labels and where its streams are; what it has elsewhere is
        told by `leavings` from then on. Neither a job that is `spared` (others wait for it), nor
        the newest of all. A job of more rows goes in several steps.
        """

    async def leavings(self, limit: int) -> list[str]:
        """Return jobs that are gone, and whose logs and objects are still to be let go."""

    async def cleared(self, job_ids: Sequence[str]) -> None:
        """Take note that nothing of these is left."""
