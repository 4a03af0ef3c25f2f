"""A wait for jobs as a person sees it: how far it has come, and what Ctrl-C does."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from gridloom.calls.progress import Progress, progress_for
from gridloom.interrupt import leaving_it_running
from gridloom.jobs.states import JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gridloom.jobs.info import JobInfo


@contextmanager
def shown(job_ids: Sequence[str], progress: bool | None) -> Iterator[Callable[[JobInfo], None]]:  # noqa: FBT001  # the user's word
    """Around a wait: a bar. Gives what is to be shown each job."""
    bar = progress_for(work_of(job_ids), progress)
    try:
        yield WaitTally(bar, job_ids).see
    finally:
        bar.close()


@contextmanager
def attending(
    job_ids: Sequence[str],
    progress: bool | None,  # noqa: FBT001
    cancel: Callable[[Sequence[str]], object],
) -> Iterator[Callable[[JobInfo], None]]:
    """The same, where Ctrl-C leaves the jobs running and a second one cancels them."""
    come_back = f'client.get("{job_ids[0]}")' if len(job_ids) == 1 else "client.wait(ids)"
    with (
        shown(job_ids, progress) as see,
        leaving_it_running(work_of(job_ids), come_back, lambda: cancel(job_ids)),
    ):
        yield see


def work_of(job_ids: Sequence[str]) -> str:
    """What a sentence calls these jobs."""
    return job_ids[0] if len(job_ids) == 1 else f"the work of {len(job_ids)} jobs"


class WaitTally:
    """Counts what is over, elements of arrays singly, and tells a progress bar."""

    def __init__(self, progress: Progress, job_ids: Iterable[str]) -> None:
        self._progress = progress
        self._counts = dict.fromkeys(job_ids, (0, 0, 1))
        self._sums = (0, 0, len(self._counts))

    def see(self, job: JobInfo) -> None:
        """Look at a job as it is now; what that costs does not grow with the number of jobs."""
        before = self._counts.get(job.id)
        if before is not None:
            now = self._counts[job.id] = _count(job)
            done, failed, total = self._sums
            self._sums = (
                done + now[0] - before[0],
                failed + now[1] - before[1],
                total + now[2] - before[2],
            )
        self._progress.update(*self._sums)


def _count(job: JobInfo) -> tuple[int, int, int]:
    """How many parts are over, how many of those badly, and how many there are."""
    if not job.elements:
        return int(job.state.is_final), int(job.state is JobState.FAILED), 1
    counts = job.counts()
    over = sum(count for state, count in counts.items() if state.is_final)
    return over, counts.get(JobState.FAILED, 0), job.elements
