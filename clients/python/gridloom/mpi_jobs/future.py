"""The future of an MPI function: its job on the platform, and the results of its ranks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gridloom.mpi_jobs.job import results_when_over

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from gridloom.jobs.info import Explanation
    from gridloom.jobs.states import JobState
    from gridloom.mpi_jobs.job import MpiJob
    from gridloom.profiles.profile import Profile

R = TypeVar("R")


class MpiFuture(concurrent.futures.Future[R], Generic[R]):
    """Also awaitable. Its result is a list by rank, or rank 0's.

    What a rank raised is raised, with a note and a cause that name the rank.
    """

    def __init__(self, job: MpiJob, *, root_only: bool) -> None:
        super().__init__()
        self.job = job
        self._root_only = root_only
        threading.Thread(target=self._attend, name=f"gridloom-{job.id}", daemon=True).start()

    def __await__(self) -> Generator[Any, None, R]:
        return asyncio.wrap_future(self).__await__()

    def __repr__(self) -> str:
        return f"<MpiFuture of {self.job!r}>"

    @property
    def id(self) -> str:
        """The job's."""
        return self.job.id

    @property
    def state(self) -> JobState:
        """The job's, now."""
        return self.job.state

    def logs(self, follow: bool = False, rank: int | None = None) -> Iterator[str]:  # noqa: FBT001, FBT002
        """What the ranks have written."""
        return self.job.logs(follow, rank=rank)

    def profile(self, rank: int | None = None) -> Profile:
        """Where the ranks' time went, once they are over. See `Job.profile`."""
        return self.job.profile(rank)

    def explain(self) -> Explanation:
        """Why it waits, and behind what."""
        return self.job.explain()

    def cancel(self) -> bool:
        """End the job; the result is then a `CancelledError`. False where it was over."""
        if self.done():
            return False
        self.job.cancel()
        return True

    def _attend(self) -> None:
        try:
            values = results_when_over(self.job)
        except BaseException as error:  # noqa: BLE001  # whatever a rank has raised
            self.set_exception(error)
        else:
            self.set_result(values[0] if self._root_only else values)  # type: ignore[arg-type]
