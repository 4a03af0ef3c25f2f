"""The handle of one job (or array element), synchronous. All it holds is the id and a last look."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gridloom import ids, units
from gridloom.errors import GridloomError
from gridloom.jobs import listing, operations
from gridloom.jobs.execution import ExecResult, ExecTally, exec_requests, pieces_of, run_command
from gridloom.jobs.logs import LineReading, LogQuery, checked
from gridloom.jobs.outcome import result_of
from gridloom.jobs.outputs import Outputs
from gridloom.jobs.picture import job_html, job_text
from gridloom.jobs.states import JobState
from gridloom.jobs.waiting import attending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gridloom.jobs.face import JobVerbs
    from gridloom.jobs.info import Explanation, JobEvent, JobInfo
    from gridloom.jobs.outcome import JobResult
    from gridloom.operation import Operation
    from gridloom.profiles.profile import Profile

_FRESH_S = 1.0
_LOOK_PATIENCE_S = 1.0


class Job:
    """A job on the platform. May be pickled, sent to other processes and kept for years.

    Two handles are equal when they name the same job. Methods raise the errors of
    `gridloom.errors`; `state` and `refresh` ask the platform, `info` is what was seen last.
    """

    def __init__(self, client: JobVerbs, job_id: str, info: JobInfo | None = None) -> None:
        self._client = client
        self._id = job_id
        self._info = info
        self._looked = time.monotonic() if info else 0.0

    # ---- what it is

    @property
    def id(self) -> str:
        """Its id: `client.get(id)` opens the same job anywhere."""
        return self._id

    @property
    def name(self) -> str:
        """What people call it."""
        return self.info.name

    @property
    def info(self) -> JobInfo:
        """Everything about it as it was seen last; `refresh()` looks again."""
        return self._info or self.refresh()

    @property
    def state(self) -> JobState:
        """Its state now."""
        if self._info is not None and self._info.state.is_final:
            return self._info.state
        return self.refresh().state

    def refresh(self) -> JobInfo:
        """Look at it again."""
        return self._seen(self._client.connection.run(operations.get(self._id)))

    def saw(self, info: JobInfo) -> Job:
        """Somebody has looked at it: `info` is what was seen last."""
        self._info, self._looked = info, time.monotonic()
        return self

    def _seen(self, info: JobInfo) -> JobInfo:
        return self.saw(info).info

    # ---- its end

    def wait(
        self, timeout: units.Duration | None = None, *, progress: bool | None = None
    ) -> JobState:
        """Return its final state when it is over; a `TimeoutError` where that takes longer.

        A bar shows how far it is where a person looks; `progress` forces it or forbids it. Ctrl-C
        leaves the job running and says how to come back, a second one cancels it.
        """
        with attending([self._id], progress, self._client.cancel) as see:
            end = operations.ended(self._id, limit_s(timeout), see)
            return self._seen(self._client.connection.run(end)).state

    def result(
        self, timeout: units.Duration | None = None, *, progress: bool | None = None
    ) -> JobResult:
        """Wait, then the result. A failure is raised as its `JobError`, with the last lines."""
        if self.wait(timeout, progress=progress) is JobState.SUCCEEDED:
            return result_of(self.info)
        raise self._client.connection.run(operations.failure(self.info))

    def cancel(self, grace: units.Duration | None = None, reason: str = "") -> JobInfo:
        """End it: SIGTERM, and SIGKILL after `grace` (10 s). One that is over stays as it is."""
        return self._changed(operations.cancel([self._id], grace, reason))

    def hold(self) -> JobInfo:
        """Keep it from starting until `release()`."""
        return self._changed(operations.hold([self._id]))

    def release(self) -> JobInfo:
        """Let it go on after a `hold`."""
        return self._changed(operations.release([self._id]))

    def retry(self) -> Job:
        """A new job with the same specification, which names this one."""
        info = self._client.connection.run(operations.retry(self._id))
        return Job(self._client, info.id, info)

    def resize(self, replicas: int, role: str = "main") -> JobInfo:
        """Another number of replicas of an elastic role."""
        return self._seen(self._client.connection.run(operations.resize(self._id, role, replicas)))

    # ---- what it says

    def logs(
        self,
        follow: bool = False,  # noqa: FBT001, FBT002  # SDK.md: logs(follow, role, index)
        role: str | None = None,
        index: int | None = None,
        *,
        tail: int | None = None,
        stream: str = "both",
        attempt: int | None = None,
    ) -> Iterator[str]:
        """Its output, line by line: what there is, and with `follow` what comes until it is over.

        `tail` begins with the last lines only; `stream` is "stdout", "stderr" or "both".
        """
        query = LogQuery(self._id, follow, role, index, tail, stream, attempt)
        if role or index is not None:
            checked(query, self.info)
        reading = LineReading(query)
        return (line.text for line in self._client.connection.follow(reading))

    def explain(self) -> Explanation:
        """Why it waits, and behind what."""
        return self._client.connection.run(operations.explain(self._id))

    def events(self) -> Iterator[JobEvent]:
        """Every change of its state, oldest first."""
        return self._client.paged(lambda token: listing.events_page(self._id, token, listing.PAGE))

    def profile(self, rank: int | None = None) -> Profile:
        """Where its time went and how much memory it took, of one rank or of all together.

        Of MPI jobs with `profile=True`. ConflictError: it is not over. NotFoundError: it has none.
        """
        from gridloom.profiles.operations import job_profile

        return self._client.connection.run(job_profile(self._id, rank))

    @property
    def outputs(self) -> Outputs:
        """The files that it has brought back, by name."""
        if self._info is None or not self._info.state.is_final:
            self.refresh()
        return Outputs(self._client.connection, self.info)

    def exec(
        self, command: Sequence[str], *, role: str = "", index: int = 0, stdin: bytes = b""
    ) -> ExecResult:
        """Run a command beside a running replica: in its folder, with its environment."""
        requests = exec_requests(self._id, command, role, index, pieces_of(stdin))
        tally = ExecTally()
        for answer in run_command(self._client.connection, requests):
            tally.take(answer)
        return tally.result()

    # ---- an array's elements

    def element(self, number: int) -> Job:
        """The element of the array with this number."""
        job, _ = ids.split_job_id(self._id)
        return Job(self._client, ids.element_id(job, number))

    def elements(self) -> Iterator[Job]:
        """All elements of the array, in order."""
        return (self.element(number) for number in self.info.numbers())

    # ---- as a value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __reduce__(self) -> tuple[Callable[[str, str], Job], tuple[str, str]]:
        return _reopened, (self._client.name, self._id)

    def __repr__(self) -> str:
        return job_text(self._id, self._glance())

    def _repr_html_(self) -> str:
        return job_html(self._id, self._glance())

    def _ipython_display_(self) -> None:
        from gridloom.calls.progress import in_notebook

        if not in_notebook():
            # IPython then takes `repr`.
            raise NotImplementedError
        from IPython.display import display

        from gridloom.jobs.notebook import show_live

        show_live(self._client, self._id, self._glance(), display)

    def _glance(self) -> JobInfo | None:
        """A recent look, if one can be had at once."""
        is_settled = self._info is not None and self._info.state.is_final
        if is_settled or time.monotonic() - self._looked < _FRESH_S:
            return self._info
        try:
            look = operations.get(self._id, timeout_s=_LOOK_PATIENCE_S)
            return self._seen(self._client.connection.run(look))
        except GridloomError:
            return self._info

    def _changed(self, operation: Operation[list[JobInfo]]) -> JobInfo:
        found = self._client.connection.run(operation)
        return self._seen(found[0]) if found else self.refresh()


def limit_s(timeout: units.Duration | None) -> float | None:
    """A wait's `timeout` in seconds; None: for ever."""
    return None if timeout is None else units.seconds(timeout, field="timeout")


def _reopened(name: str, job_id: str) -> Job:
    from gridloom.client import client_of

    return client_of(name).job(job_id)
