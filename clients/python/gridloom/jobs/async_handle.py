"""The handle of one job (or array element) for an event loop: the names of `Job`, awaited."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom import ids
from gridloom.jobs import listing, operations
from gridloom.jobs.handle import Job, limit_s
from gridloom.jobs.logs import LineReading, LogQuery, checked
from gridloom.jobs.outcome import result_of
from gridloom.jobs.outputs import NamedOutputs, Output, Outputs
from gridloom.jobs.picture import job_html, job_text
from gridloom.jobs.states import JobState
from gridloom.jobs.waiting import shown

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from typing import Any

    from gridloom import units
    from gridloom.aio import AsyncClient
    from gridloom.jobs.execution import ExecResult
    from gridloom.jobs.info import Explanation, JobEvent, JobInfo
    from gridloom.jobs.outcome import JobResult
    from gridloom.operation import Operation
    from gridloom.profiles.profile import Profile


class AsyncOutput:
    """One file on the platform."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.name = output.name
        self.info = output.info

    def __repr__(self) -> str:
        return repr(self._output)

    async def save(self, to: str | os.PathLike[str] = ".") -> Path:
        """Write it into the folder `to`, or to the file `to`; answers with where it is."""
        return await asyncio.to_thread(self._output.save, to)

    async def read_bytes(self) -> bytes:
        """Its content."""
        return await asyncio.to_thread(self._output.read_bytes)

    async def read_text(self, encoding: str = "utf-8") -> str:
        """Its content as text."""
        return await asyncio.to_thread(self._output.read_text, encoding)


class AsyncOutputs(NamedOutputs[AsyncOutput]):
    """What a job brought back."""

    def __init__(self, job: JobInfo, outputs: Outputs) -> None:
        super().__init__(job, {name: AsyncOutput(output) for name, output in outputs.items()})

    async def save(self, folder: str | os.PathLike[str] = ".") -> list[Path]:
        """Write all of them below the folder, by their names; answers with where they are."""
        return [await output.save(Path(folder) / name) for name, output in self.items()]


class AsyncJob:
    """A job on the platform. May be pickled: it comes out as a `Job`, which needs no event loop.

    `await job.state` and `await job.refresh()` ask the platform; `info` is what was seen last.
    """

    def __init__(self, client: AsyncClient, job_id: str, info: JobInfo) -> None:
        self._client = client
        self._id = job_id
        self._info = info

    # ---- what it is

    @property
    def id(self) -> str:
        """Its id: `client.get(id)` opens the same job anywhere."""
        return self._id

    @property
    def name(self) -> str:
        """What people call it."""
        return self._info.name

    @property
    def info(self) -> JobInfo:
        """Everything about it as it was seen last; `refresh()` looks again."""
        return self._info

    @property
    def state(self) -> Coroutine[Any, Any, JobState]:
        """Its state now, awaited."""
        return self._state()

    async def _state(self) -> JobState:
        if not self._info.state.is_final:
            await self.refresh()
        return self._info.state

    def saw(self, info: JobInfo) -> AsyncJob:
        """Somebody has looked at it: `info` is what was seen last."""
        self._info = info
        return self

    async def refresh(self) -> JobInfo:
        """Look at it again."""
        self._info = await self._client.connection.run(operations.get(self._id))
        return self._info

    # ---- its end

    async def wait(
        self,
        timeout: units.Duration | None = None,  # noqa: ASYNC109  # the same word in both faces
        *,
        progress: bool | None = None,
    ) -> JobState:
        """Return its final state when it is over; a `TimeoutError` where that takes longer."""
        with shown([self._id], progress) as see:
            end = operations.ended(self._id, limit_s(timeout), see)
            self._info = await self._client.connection.run(end)
        return self._info.state

    async def result(
        self,
        timeout: units.Duration | None = None,  # noqa: ASYNC109
        *,
        progress: bool | None = None,
    ) -> JobResult:
        """Wait, then the result. A failure is raised as its `JobError`, with the last lines."""
        if await self.wait(timeout, progress=progress) is JobState.SUCCEEDED:
            return result_of(self._info)
        raise await self._client.connection.run(operations.failure(self._info))

    async def cancel(self, grace: units.Duration | None = None, reason: str = "") -> JobInfo:
        """End it: SIGTERM, and SIGKILL after `grace` (10 s). One that is over stays as it is."""
        return await self._changed(operations.cancel([self._id], grace, reason))

    async def hold(self) -> JobInfo:
        """Keep it from starting until `release()`."""
        return await self._changed(operations.hold([self._id]))

    async def release(self) -> JobInfo:
        """Let it go on after a `hold`."""
        return await self._changed(operations.release([self._id]))

    async def retry(self) -> AsyncJob:
        """A new job with the same specification, which names this one."""
        info = await self._client.connection.run(operations.retry(self._id))
        return AsyncJob(self._client, info.id, info)

    async def resize(self, replicas: int, role: str = "main") -> JobInfo:
        """Another number of replicas of an elastic role."""
        self._info = await self._client.connection.run(operations.resize(self._id, role, replicas))
        return self._info

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
    ) -> AsyncIterator[str]:
        """Its output, line by line, for `async for`. See `Job.logs`."""
        query = LogQuery(self._id, follow, role, index, tail, stream, attempt)
        return self._lines(LineReading(checked(query, self._info)))

    async def _lines(self, reading: LineReading) -> AsyncIterator[str]:
        async for line in self._client.connection.follow(reading):
            yield line.text

    async def profile(self, rank: int | None = None) -> Profile:
        """Where its time went and how much memory it took. See `Job.profile`."""
        from gridloom.profiles.operations import job_profile

        return await self._client.connection.run(job_profile(self._id, rank))

    async def explain(self) -> Explanation:
        """Why it waits, and behind what."""
        return await self._client.connection.run(operations.explain(self._id))

    def events(self) -> AsyncIterator[JobEvent]:
        """Every change of its state, oldest first, for `async for`."""
        return self._client.paged(lambda token: listing.events_page(self._id, token, listing.PAGE))

    @property
    def outputs(self) -> Coroutine[Any, Any, AsyncOutputs]:
        """The files that it has brought back, by name; awaited."""
        return self._outputs()

    async def _outputs(self) -> AsyncOutputs:
        await self._state()
        outputs = Outputs(self._client.connection.connection, self._info)
        return AsyncOutputs(self._info, outputs)

    async def exec(
        self, command: Sequence[str], *, role: str = "", index: int = 0, stdin: bytes = b""
    ) -> ExecResult:
        """Run a command beside a running replica: in its folder, with its environment."""
        beside = Job(self._client.sync, self._id, self._info)
        return await asyncio.to_thread(beside.exec, command, role=role, index=index, stdin=stdin)

    # ---- an array's elements

    async def element(self, number: int) -> AsyncJob:
        """The element of the array with this number."""
        job, _ = ids.split_job_id(self._id)
        return await self._client.job(ids.element_id(job, number))

    # ---- as a value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncJob) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Job(self._client.sync, self._id).__reduce__()

    def __repr__(self) -> str:
        return job_text(self._id, self._info)

    def _repr_html_(self) -> str:
        return job_html(self._id, self._info)

    async def _changed(self, operation: Operation[list[JobInfo]]) -> JobInfo:
        found = await self._client.connection.run(operation)
        if not found:
            return await self.refresh()
        self._info = found[0]
        return self._info
