"""The future of one call: a real `concurrent.futures.Future`, light enough to have a million.

A future holds no lock and no list until somebody waits for it or registers a callback. Its value is
unpickled where it is first asked for, not in the thread that receives results.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
import time
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from gridloom import ids, units
from gridloom.api.functions.v1 import call_pb2
from gridloom.calls import fork, reading
from gridloom.calls.notebook import Picture, Pictured
from gridloom.calls.output import lines_of
from gridloom.calls.states import CallState
from gridloom.calls.waiting import attended, waiting_in_worker
from gridloom.errors import CancelledError, NotFoundError
from gridloom.payload import Pending, in_arguments

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator, Iterator

    from gridloom.calls.events import CallEvent
    from gridloom.channel import Connection
    from gridloom.jobs.info import Explanation
    from gridloom.profiles.profile import Profile

T = TypeVar("T")

OK = call_pb2.CALL_STATUS_OK
CANCELLED = call_pb2.CALL_STATUS_CANCELLED
# What `_status` says once `_value` is no more an envelope but the value, or the exception.
_VALUE = -1
_EXCEPTION = -2
_LARGE = b"\x02"

# Guards the step from "nobody waits" to "somebody waits" of every future, for some nanoseconds.
# What is made meanwhile may set the garbage collector off, and a finalizer may cancel calls.
_making = threading.RLock()


class _Clock:
    """The time, as one object for all futures of a moment: a million of them need no million."""

    def __init__(self) -> None:
        self._seen = 0.0

    def now(self) -> float:
        now = time.monotonic()
        if now - self._seen > _MOMENT_S:
            self._seen = now
        return self._seen


_MOMENT_S = 0.05
_clock = _Clock()


class Source(Protocol):
    """Where futures come from: a session, or the reader of other sessions' calls."""

    name: str

    @property
    def connection(self) -> Connection:
        """The way to the platform."""

    def load(self, envelope: bytes) -> Any:
        """The value of an envelope."""

    def error_of(self, status: int, value: bytes) -> BaseException:
        """The exception of a result that is not OK."""

    def cancel_call(self, future: CallFuture[Any], grace_s: float | None) -> None:
        """Ask that this call does not run, or stops."""

    def let_arrive(self, future: CallFuture[Any]) -> None:
        """Wait until the platform knows the call."""

    def await_result(self, future: CallFuture[Any]) -> None:
        """See to it that the future will be resolved; asked before anybody waits for it."""


class _Waiting:
    """What a future has once somebody waits for it."""

    __slots__ = ("callbacks", "condition", "epoch", "waiters")

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.waiters: list[Any] = []
        self.callbacks: list[Callable[[Any], object]] = []
        self.epoch = fork.epoch()


class CallFuture(Pending, Pictured, concurrent.futures.Future[T], Generic[T]):
    """The result of a call that runs on the platform.

    It is awaitable in any event loop. Pickled, it is a handle: elsewhere it opens the same call by
    its id; as an argument of another call it becomes a dependency, and its value goes from worker
    to worker without passing through here. `cancel()` always succeeds while there is no result: a
    call that has not begun will not begin, one that runs is interrupted.
    """

    # Set by whoever sends the call.
    _sequence: int

    __slots__ = ("_sequence", "_since", "_source", "_state", "_status", "_value", "_watch", "label")

    def __init__(self, source: Source, label: str) -> None:
        # The base class's constructor is left out on purpose: it makes a lock and two lists.
        self._source = source
        self._state = PENDING
        self._watch: _Waiting | None = None
        self._since = _clock.now()
        self.label = label

    # ---- what the base class's machinery reads, made when it is first read

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        return self._watched().condition

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        return self._watched().waiters

    @property
    def _done_callbacks(self) -> list[Callable[[Any], object]]:
        return self._watched().callbacks

    @property
    def _exception(self) -> BaseException | None:  # type: ignore[override]
        return self.exception(0) if self._state is FINISHED else None

    @property
    def _result(self) -> Any:  # type: ignore[override]
        return self.result(0) if self._state is FINISHED and self._exception is None else None

    def _watched(self) -> _Waiting:
        if self._state is PENDING:
            self._source.await_result(self)
        with _making:
            watch = self._watch
            if watch is None or watch.epoch != fork.epoch():
                watch = self._watch = _Waiting()
            return watch

    # ---- from the service

    def deliver(self, status: int, value: bytes) -> bool:
        """Take the call's result; later ones are dropped. True: nothing more is expected."""
        state = CANCELLED_AND_NOTIFIED if status == CANCELLED else FINISHED
        return self._settle(state, status, value)

    def fail(self, error: BaseException) -> bool:
        """End it with an error of the client's own; nothing happens where it has ended."""
        return self._settle(FINISHED, _EXCEPTION, error)

    def fulfil(self, value: Any) -> bool:
        """End it with a value that needs no decoding."""
        return self._settle(FINISHED, _VALUE, value)

    def _settle(self, state: str, status: int, value: Any) -> bool:
        with _making:
            watch = self._watch
            if watch is None or watch.epoch != fork.epoch():
                if self._state is PENDING:
                    self._status, self._value, self._state = status, value, state
                return True
        with watch.condition:
            if self._state is not PENDING:
                return True
            self._status, self._value, self._state = status, value, state
            self._notify(watch, state, failed=status not in {OK, _VALUE})
        self._call_back(watch)
        return True

    def _notify(self, watch: _Waiting, state: str, *, failed: bool) -> None:
        for waiter in watch.waiters:
            if state is CANCELLED_AND_NOTIFIED:
                waiter.add_cancelled(self)
            elif failed:
                waiter.add_exception(self)
            else:
                waiter.add_result(self)
        watch.condition.notify_all()

    def _call_back(self, watch: _Waiting) -> None:
        for callback in watch.callbacks:
            _run_callback(callback, self)
        watch.callbacks.clear()

    # ---- for the user

    @property
    def id(self) -> str:
        """The call's name, good in any process: `client.get(id)`."""
        return ids.call_id(self._source.name, self._sequence)

    @property
    def address(self) -> tuple[str, int]:
        """The name of the session that submitted it, and its number there."""
        return self._source.name, self._sequence

    @property
    def number(self) -> int:
        """Its number in its session; 0: it was never sent."""
        return self._sequence

    @property
    def is_over(self) -> bool:
        """As `done()`, and never starts to look for the result."""
        return self._state is not PENDING

    @property
    def settled(self) -> bool:
        """Whether its value is here: as an argument it is sent along then."""
        return self._state is FINISHED and self._status in {OK, _VALUE}

    @property
    def state(self) -> CallState:
        """The call's state now: as known here once it is done, else asked of the service."""
        if self._state is not PENDING:
            return self._known_state()
        self._source.let_arrive(self)
        try:
            return self._source.connection.run(reading.call_state(self.id))
        except NotFoundError:
            if self._state is PENDING:
                raise
            return self._known_state()  # its result came meanwhile, and was let go there

    def cancel(self, grace: units.Duration | None = None) -> bool:
        """Cancel the call, also while it runs; False only where it has ended.

        Args:
            grace: how long a call that runs may go on after its SIGINT before it is killed.
        """
        grace_s = None if grace is None else units.seconds(grace, field="grace")
        if self._state is not PENDING:
            return self.cancelled()
        self._settle(CANCELLED_AND_NOTIFIED, CANCELLED, b"")
        if not self.cancelled():
            return False
        self._source.cancel_call(self, grace_s)
        return True

    def cancelled(self) -> bool:
        """Whether it was cancelled, here or elsewhere."""
        return self._state is CANCELLED_AND_NOTIFIED

    def running(self) -> bool:
        """False: this side knows what has ended, not what has begun. `state` asks the service."""
        return False

    def done(self) -> bool:
        """Whether a result, an error or the cancellation is here."""
        if self._state is PENDING:
            self._source.await_result(self)
        return self._state is not PENDING

    def result(self, timeout: float | None = None) -> T:
        """The call's value, or what it raised.

        Raises:
            TimeoutError: it is not there after `timeout` seconds; the call goes on.
            concurrent.futures.CancelledError: it was cancelled.
        """
        if self._state is PENDING:
            self.wait(timeout)
        return self._outcome()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the call raised, or None; waits, times out and is cancelled as `result`."""
        if self._state is PENDING:
            self.wait(timeout)
        if self._state is CANCELLED_AND_NOTIFIED:
            raise self._cancellation()
        self._decode()
        return cast("BaseException", self._value) if self._status == _EXCEPTION else None

    def _outcome(self) -> T:
        if self._state is CANCELLED_AND_NOTIFIED:
            raise self._cancellation()
        self._decode()
        if self._status == _VALUE:
            return cast("T", self._value)
        try:
            raise cast("BaseException", self._value)
        finally:
            self = None  # type: ignore[assignment]  # noqa: PLW0642  # breaks the cycle through the traceback

    def _decode(self) -> None:
        """Turn what was received into the value or the exception, once."""
        status, value = self._status, self._value
        if status in {_VALUE, _EXCEPTION}:
            return
        decoded = self._decoded(status, value)
        with _making:
            if self._status == status:  # nobody was faster: everybody gets the same object
                self._value, self._status = decoded[1], decoded[0]

    def _decoded(self, status: int, value: bytes) -> tuple[int, Any]:
        if status != OK:
            return _EXCEPTION, self._source.error_of(status, value)
        try:
            return _VALUE, self._source.load(value)
        except Exception as error:  # noqa: BLE001  # unpickling runs the user's code
            return _EXCEPTION, error

    def _cancellation(self) -> BaseException:
        if self._status == CANCELLED and self._value:
            return self._source.error_of(CANCELLED, self._value)
        return CancelledError(f"{self.id} was cancelled", job_id=self.id)

    def wait(self, timeout: float | None = None) -> None:
        """Return when it is done; `TimeoutError` where that takes longer than `timeout` seconds."""
        if self._state is not PENDING:
            return
        with attended(self.id, self.id, self.cancel):
            done = self.await_over(timeout)
        if not done:
            raise TimeoutError(f"{self.id} is not done after {timeout:g} s")

    def await_over(self, timeout: float | None = None) -> bool:
        """Whether it is over after that time at most; an interrupt is the caller's business."""
        condition = self._watched().condition
        with condition:
            return condition.wait_for(lambda: self._state is not PENDING, timeout)

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call `fn` with this future when it is done; at once where it is."""
        if self._state is PENDING:
            watch = self._watched()
            with watch.condition:
                if self._state is PENDING:
                    watch.callbacks.append(fn)
                    return
        _run_callback(fn, self)

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """The lines that the call printed, where its function has `capture_output`."""
        following = reading.OutputFollowing(self.id, follow=follow)
        return lines_of(one.text for one in self._source.connection.follow(following))

    def profile(self) -> Profile:
        """Where its time went and how much memory it took, once it is over.

        Of functions with `profile=True`, also of a call that raised; a NotFoundError of others.
        """
        from gridloom.profiles.operations import calls_profile

        self.wait()
        return calls_profile(self._source.connection, self.id)

    def explain(self) -> Explanation:
        """Why it has no result yet: what it waits for, and behind what."""
        from gridloom.calls.explaining import explain_call, explain_over

        if self._state is not PENDING:
            return explain_over(self.id, self._known_state(), self._known_reason())
        self._source.let_arrive(self)
        try:
            return self._source.connection.run(explain_call(self.id))
        except NotFoundError:
            if self._state is PENDING:
                raise
            return explain_over(self.id, self._known_state(), self._known_reason())

    def events(self) -> Iterator[CallEvent]:
        """What became of it, oldest first: taken in, run again and why, over.

        The platform lets a single call without a name go when its result has been delivered; then
        this is what is known here.
        """
        from gridloom.calls.events import CallEvent, call_events

        if self._sequence:
            self._source.let_arrive(self)
            try:
                yield from call_events(self._source.connection, self.id)
            except NotFoundError:
                if self._state is PENDING:
                    raise
            else:
                return
        sent = datetime.now(UTC) - timedelta(seconds=time.monotonic() - self._since)
        yield CallEvent(self.id, sent, CallState.QUEUED, 1)
        yield CallEvent(self.id, None, self._known_state(), reason=self._known_reason())

    def _known_reason(self) -> str:
        """Why it has no value, where it is over and has none."""
        if self._state is CANCELLED_AND_NOTIFIED or (error := self.exception()) is None:
            return ""
        return f"{type(error).__name__}: {error}"

    def __await__(self) -> Generator[Any, None, T]:
        return self._awaited().__await__()

    async def _awaited(self) -> T:
        import asyncio

        if self._state is PENDING:
            await self._done_in_loop(asyncio.get_running_loop())
        if self._is_large():  # fetching it would block the loop
            return await asyncio.get_running_loop().run_in_executor(None, self.result)
        return self.result()

    async def _done_in_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait without blocking; the call is cancelled with the task that waits."""
        done = loop.create_future()
        self.add_done_callback(lambda _: _wake(loop, done))
        try:
            with waiting_in_worker():
                await done
        except BaseException:
            self.cancel()
            raise

    def _is_large(self) -> bool:
        return self._state is FINISHED and self._status == OK and self._value[:1] == _LARGE

    def __repr__(self) -> str:
        state, age = self._glance()
        return f"<CallFuture {self.id} {self.label} {state}, {age}>"

    def _glance(self) -> tuple[str, str]:
        """State and age as far as they are known here."""
        state = "pending" if self._state is PENDING else self._known_state().lower()
        return state, units.format_duration(time.monotonic() - self._since)

    def _picture(self) -> Picture:
        state, age = self._glance()
        rows = [("call", self.id), ("function", self.label), ("state", state), ("age", age)]
        if state == "failed":
            rows.append(("error", repr(self.exception())))
        return Picture(repr(self), rows, is_over=self.is_over)

    def _known_state(self) -> CallState:
        if self._state is CANCELLED_AND_NOTIFIED:
            return CallState.CANCELLED
        return CallState.SUCCEEDED if self._status in {OK, _VALUE} else CallState.FAILED

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if in_arguments() and self.settled:
            return _passed, (self.result(),)
        from gridloom.calls.attach import reopened_call, reopened_unsent

        if not self._sequence:
            name = self._source.connection.locator.name
            return reopened_unsent, (name, self._source.name, self.label, self.exception())
        return reopened_call, (self._source.connection.locator.name, self.id)

    def __copy__(self) -> CallFuture[T]:
        return self

    def __deepcopy__(self, memo: object) -> CallFuture[T]:
        return self


def _passed(value: Any) -> Any:
    """What stands in a pickle of arguments for a result that is here already."""
    return value


def _run_callback(callback: Callable[[Any], object], future: CallFuture[Any]) -> None:
    try:
        callback(future)
    except Exception:  # a callback's failure is its own: the others still run
        log = logging.getLogger("concurrent.futures")
        log.exception("exception calling callback for %r", future)


def _wake(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    def finish() -> None:
        if not done.done():
            done.set_result(None)

    with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
        loop.call_soon_threadsafe(finish)


def _new_lock() -> None:
    global _making  # noqa: PLW0603  # the parent's may be held by a thread that is not here
    _making = threading.RLock()


fork.after_in_child(_new_lock)
