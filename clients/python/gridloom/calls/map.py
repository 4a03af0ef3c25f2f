"""The results of a map: an iterator, synchronous and asynchronous, that also feeds the map."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from gridloom import units
from gridloom.calls.handle import GroupHandle, arrived_group
from gridloom.calls.notebook import Picture, Pictured
from gridloom.calls.progress import NoProgress, Progress
from gridloom.calls.run import LOOK_AGAIN_S, Failure, MapRun
from gridloom.calls.waiting import left_running, waiting_in_worker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from gridloom.calls.group import Group
    from gridloom.calls.states import CallState

R = TypeVar("R")


class MapResults(GroupHandle, Pictured, Generic[R]):
    """The results of a map, in the order of its items or as they come.

    An iterator for `for` and for `async for`. What it has not been asked for waits in bounded
    space, so a source may be endless. Closing it early (`close`, `with`, or letting go of it after
    the first result) cancels what is left; Ctrl-C in a wait does not. Results stay on the platform:
    `client.get(results.id)` reads them again, also from another process.
    """

    def __init__(
        self,
        run: MapRun,
        *,
        return_exceptions: bool = False,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> None:
        self._run = run
        self._return_exceptions = return_exceptions
        self._progress = progress or NoProgress()
        self._shows_progress = not isinstance(self._progress, NoProgress)
        self._ends_at = None if timeout is None else time.monotonic() + timeout
        self._buffer: deque[Any] = deque()
        self._begun = False
        self._over = False
        self._detached = False

    # ---- as a handle

    @property
    def id(self) -> str:
        """The group's id, good in any process."""
        return self._run.id

    @property
    def group(self) -> Group:
        """The group as any process sees it: status, results, logs."""
        return arrived_group(self._run.route.session, self.id, first_call=self._run.first_call)

    def __reduce__(self) -> str | tuple[Any, ...]:
        return self.group.__reduce__()

    def __len__(self) -> int:
        """The number of items, where it is known."""
        if self._run.total is None:
            raise TypeError("the length of this map's items is not known")
        return self._run.total

    def __repr__(self) -> str:
        run = self._run
        failed = f", {run.failed:,} failed" if run.failed else ""
        return f"<MapResults {self.id} {run.route.label} {self._done_of_all()}{failed}>"

    def _done_of_all(self) -> str:
        total = "?" if self._run.total is None else f"{self._run.total:,}"
        return f"{self._run.done:,}/{total}"

    def _picture(self) -> Picture:
        run = self._run
        rows = [
            ("map", self.id),
            ("function", run.route.label),
            ("done", self._done_of_all()),
            ("failed", f"{run.failed:,}"),
        ]
        return Picture(repr(self), rows, is_over=run.is_over)

    def wait(self, timeout: units.Duration | None = None) -> CallState:
        """Return its state when all of its items have ended. The results wait here meanwhile.

        Raises:
            TimeoutError: some have not after that time; the map goes on.
        """
        self._await_all(timeout)
        return self.state

    def _await_all(self, timeout: units.Duration | None) -> None:
        self._begun = True
        ends_at = self._ends_at
        if timeout is not None:
            here_at = time.monotonic() + units.seconds(timeout, field="timeout")
            self._ends_at = here_at if ends_at is None else min(here_at, ends_at)
        try:
            with self._left_running():
                while not self._over:
                    self._refill()
                    if not self._over and self._is_late():
                        raise TimeoutError(f"{self.id} is not over after {timeout}")
        finally:
            self._ends_at = ends_at

    def result(self, timeout: units.Duration | None = None) -> list[R]:
        """All results that have not been taken, when the last is here; times out as `wait`."""
        self._await_all(timeout)
        return list(self)

    def cancel(self, grace: units.Duration | None = None) -> None:
        """Cancel what has not ended; items that were cancelled raise `CancelledError`."""
        self._run.cancel(None if grace is None else units.seconds(grace, field="grace"))

    def close(self) -> None:
        """Cancel what is left and end the iteration."""
        if not self._over:
            self._over = True
            self._buffer.clear()
            self._run.close()
            self._progress.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def hand_over(self) -> tuple[MapRun, dict[str, Any]]:
        """Its run, and the words for other results of it; these are not used any more."""
        self._detached = True
        return self._run, {
            "return_exceptions": self._return_exceptions,
            "progress": self._progress,
        }

    def __del__(self) -> None:
        if getattr(self, "_over", True) or self._detached:
            return
        if self._begun:
            self.close()
        else:
            self._run.abandon()

    # ---- one after the other

    def __iter__(self) -> Iterator[R]:
        """The results that nobody has taken yet. Several loops, and `next`, share them.

        A generator gives an item at half the price of `next` on this object.
        """
        buffer, take = self._buffer, self._buffer.popleft
        while True:
            while buffer:
                value = take()
                yield self._failed(value) if type(value) is Failure else value
            try:
                value = next(self)
            except StopIteration:
                return
            yield value

    def __next__(self) -> R:
        self._begun = True
        if not self._buffer:
            self._await_more()
        if not self._buffer:
            raise StopIteration
        value = self._buffer.popleft()
        return self._failed(value) if type(value) is Failure else value

    def _await_more(self) -> None:
        """Return when there is a result to take, or there will be none any more."""
        with self._left_running():
            while not self._buffer and not self._over:
                self._refill()

    @contextlib.contextmanager
    def _left_running(self) -> Iterator[None]:
        """Around a wait and what goes with it: wherever Ctrl-C falls, the map goes on."""
        try:
            with left_running(f"The map of {self._run.route.label}", self.id, self.cancel):
                yield
        except KeyboardInterrupt:
            self._detached = True
            self._progress.close()
            raise

    def _refill(self) -> None:
        """Take what is there, else wait for a change; notes the end."""
        was_over = self._is_over_after_pumping(may_wait=True)
        values = self._run.take()
        self._progress.update(self._run.done, self._run.failed, self._run.total)
        if values is not None:
            self._buffer.extend(values)
        elif was_over:
            self._end()
        else:
            self._wait()

    def _is_over_after_pumping(self, *, may_wait: bool) -> bool:
        """Feed the map, where this thread is who does; and whether all its results are here."""
        if self._run.total is None:
            self._run.pump(may_wait=may_wait)
        return self._run.is_over

    def _wait(self) -> None:
        with waiting_in_worker():
            self._run.wait(self._patience())
        if self._is_late():
            raise TimeoutError(f"{self.id} gave no result in time")

    def _is_late(self) -> bool:
        return self._ends_at is not None and time.monotonic() >= self._ends_at

    def _patience(self) -> float | None:
        """How long to wait for a change before something else has to be looked at."""
        looks = LOOK_AGAIN_S if self._shows_progress or not self._run.is_fed else None
        if self._ends_at is None:
            return looks
        left = max(self._ends_at - time.monotonic(), 0.0)
        return left if looks is None else min(left, looks)

    def _failed(self, failure: Failure) -> R:
        """Raise an item's error and cancel the rest, or hand the error over as its result."""
        if self._return_exceptions:
            return failure.error  # type: ignore[return-value]
        self.close()
        raise failure.error

    def _end(self) -> None:
        self._over = True
        self._progress.close()
        if self._run.error is not None:
            raise self._run.error

    # ---- the same in an event loop

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R:
        self._begun = True
        while not self._buffer:
            if self._over:
                raise StopAsyncIteration
            await self._refill_async()
        value = self._buffer.popleft()
        return self._failed(value) if type(value) is Failure else value

    async def _refill_async(self) -> None:
        was_over = self._is_over_after_pumping(may_wait=False)
        values = await self._take_async()
        self._progress.update(self._run.done, self._run.failed, self._run.total)
        if values is not None:
            self._buffer.extend(values)
        elif was_over:
            self._end()
        else:
            await self._wait_async()

    async def _take_async(self) -> list[Any] | None:
        if self._run.next_is_large():  # fetching it would block the loop
            import asyncio

            return await asyncio.to_thread(self._run.take)
        return self._run.take()

    async def _wait_async(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        changed = loop.create_future()
        if not self._run.when_changed(lambda: _wake(loop, changed)):
            return
        with waiting_in_worker():
            done, _ = await asyncio.wait([changed], timeout=self._patience())
        if not done:
            self._run.widen()

    async def aclose(self) -> None:
        """Cancel what is left and end the iteration."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()


def _wake(loop: asyncio.AbstractEventLoop, changed: asyncio.Future[None]) -> None:
    """From any thread."""

    def finish() -> None:
        if not changed.done():
            changed.set_result(None)

    with contextlib.suppress(RuntimeError):  # the loop has been closed
        loop.call_soon_threadsafe(finish)
