"""Pools of warm workers of one's own."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast

from gridloom import units
from gridloom.api.functions.v1 import functions_pb2, pool_pb2
from gridloom.calls.definition import stored_bundle
from gridloom.calls.function import Function, as_function
from gridloom.calls.options import POOL_WORDS, PoolOptions, pool_spec
from gridloom.calls.reading import ask
from gridloom.calls.states import PoolState
from gridloom.calls.tracker import Tracker
from gridloom.inventory import PoolInfo, close_pool, get_pool, read_pool
from gridloom.options import check_options
from gridloom.payload import PayloadCodec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gridloom.calls.client import Calls
    from gridloom.calls.events import PoolEvent
    from gridloom.calls.executor import Executor
    from gridloom.calls.future import CallFuture
    from gridloom.calls.map import MapResults
    from gridloom.calls.mapping import MapOptions
    from gridloom.jobs.info import Explanation
    from gridloom.operation import Operation

R = TypeVar("R")

# A specification goes to its workers' host in one environment variable, which systems keep short.
_INLINE_INITIALIZER_BYTES = 32 * 1024


# ---- what is asked of the platform


def new_pool(spec: pool_pb2.PoolSpec) -> Operation[pool_pb2.Pool]:
    """Make a pool; asking twice makes one."""
    request = functions_pb2.CreatePoolRequest(spec=spec, request_id=f"sdk-{uuid.uuid4().hex}")
    answer: functions_pb2.CreatePoolResponse = yield ask("CreatePool", request)
    return answer.pool


def resize_pool(identifier: str, workers: int) -> Operation[PoolInfo]:
    """Let a pool have at most this many workers."""
    number = units.whole(workers, field="workers", least=1)
    request = functions_pb2.ResizePoolRequest(pool_id=identifier, workers=number)
    answer: functions_pb2.ResizePoolResponse = yield ask("ResizePool", request)
    return read_pool(answer.pool)


# ---- the handle


class Pool:
    """Workers of one's own, warm from the first call on. Ends with `close()` or its `with` block.

    Workers come with demand up to `workers`, and go when they are idle, or when another job waits
    for their room. A function's options that describe workers have no effect here.
    """

    def __init__(self, calls: Calls, identifier: str, given: Mapping[str, Any]) -> None:
        self.calls = calls
        self.id = identifier
        self.given = given
        """The options that it was made with."""
        self.tracker = Tracker()
        self._functions: dict[Any, Function[..., Any]] = {}

    # ---- calls

    def submit(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> CallFuture[R]:
        """Call the function here."""
        known, before = as_function(function)
        return self.calls.send(self.here(known), (*before, *args), kwargs)

    def map(
        self,
        function: Callable[..., R],
        /,
        *iterables: Iterable[Any],
        **options: Unpack[MapOptions],
    ) -> MapResults[R]:
        """Call it for each item; an iterator over the results."""
        return self.calls.map(self._whole(function), *iterables, **options)

    def starmap(
        self,
        function: Callable[..., R],
        arguments: Iterable[Iterable[Any]],
        /,
        **options: Unpack[MapOptions],
    ) -> MapResults[R]:
        """Call it with each tuple of arguments; an iterator over the results."""
        return self.calls.starmap(self._whole(function), arguments, **options)

    def map_reduce(
        self, function: Callable[..., Any], /, *iterables: Iterable[Any], **options: Any
    ) -> Any:
        """Map, and fold the results on the workers."""
        return self.calls.map_reduce(self._whole(function), *iterables, **options)

    def executor(self) -> Executor:
        """An executor of the standard library's kind on this pool; closing it leaves the pool."""
        from gridloom.calls.executor import Executor

        return Executor(pool=self)

    def _whole(self, function: Callable[..., R]) -> Function[..., R]:
        known, before = as_function(function)
        here = self.here(known)
        return Function(here.function, here.call_options, before) if before else here

    def here(self, function: Function[..., R]) -> Function[..., R]:
        """The function with this pool in the place of what it says of workers."""
        found = self._functions.get(function)
        if found is None:
            kept = {
                word: value
                for word, value in function.call_options.items()
                if word not in POOL_WORDS or word in {"name", "labels"}
            }
            options = cast("Any", {**kept, "pool": self})
            found = Function(function.function, options, function.bound)
            self._functions[function] = found
        return found

    # ---- itself

    @property
    def info(self) -> PoolInfo:
        """Everything about it, as it is now."""
        return self.calls.connection.run(get_pool(self.id))

    @property
    def state(self) -> PoolState:
        """What it is doing now."""
        return PoolState(self.info.state)

    def explain(self) -> Explanation:
        """Why its calls wait, and behind what."""
        from gridloom.calls.explaining import explain_pool

        return self.calls.connection.run(explain_pool(self.id))

    def events(self) -> Iterator[PoolEvent]:
        """What became of it, oldest first: its states, and the jobs that brought its workers."""
        from gridloom.calls.events import pool_events

        return pool_events(self.calls.connection, self.id)

    def wait(self, timeout: units.Duration | None = None) -> None:
        """Return when all calls that this process sent here have ended.

        Raises:
            TimeoutError: some have not after that time; they go on.
        """
        if not self.tracker.wait(
            None if timeout is None else units.seconds(timeout, field="timeout")
        ):
            raise TimeoutError(f"calls of {self.id} are not over after {timeout}")

    def cancel(self, grace: units.Duration | None = None) -> None:
        """Close it at once: calls that wait are cancelled, those that run are interrupted.

        `grace` is how long the calls of this process that run may go on after their SIGINT.
        """
        if grace is not None:
            self.tracker.cancel(units.seconds(grace, field="grace"))
        self.close(cancel_running=grace is None)

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """What its workers have said besides the output of calls: that of its present job."""
        from gridloom.jobs.logs import LineReading, LogQuery

        job_id = self.info.job_id
        if not job_id:
            return iter(())
        reading = LineReading(LogQuery(job_id, follow))
        return (line.text for line in self.calls.connection.follow(reading))

    def resize(self, workers: int) -> PoolInfo:
        """Let it have at most this many workers."""
        return self.calls.connection.run(resize_pool(self.id, workers))

    def close(self, *, cancel_running: bool = False) -> None:
        """End the workers after the calls that they are in; calls that wait are cancelled.

        With `cancel_running` running calls are interrupted too.
        """
        self.calls.connection.run(close_pool(self.id, cancel_running=cancel_running))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for all calls that this process sent here, then close; after an error at once."""
        if kind is None:
            self.tracker.wait()
        self.close(cancel_running=kind is not None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """The same without blocking the event loop."""
        import asyncio

        await asyncio.to_thread(self.__exit__, kind)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Callable[..., Pool], tuple[str, str, dict[str, Any]]]:
        plain = {word: self.given[word] for word in _PLAIN & self.given.keys()}
        return _reopened, (self.calls.connection.locator.name, self.id, plain)

    def __repr__(self) -> str:
        return f"<Pool {self.id}>"


# What a handle elsewhere needs to know: how many calls run at once.
_PLAIN = {"workers", "slots", "concurrency", "cpus", "name"}


def _reopened(client_name: str, identifier: str, given: dict[str, Any]) -> Pool:
    from gridloom.client import client_of

    return Pool(client_of(client_name).calls, identifier, given)


def create_pool(calls: Calls, options: Mapping[str, Any]) -> Pool:
    """Make a pool with these options."""
    check_options(options, POOL_WORDS)
    spec = spec_for(calls, options)
    made = calls.connection.run(new_pool(spec))
    return Pool(calls, made.id, dict(options))


def spec_for(calls: Calls, options: Mapping[str, Any]) -> pool_pb2.PoolSpec:
    """The specification of a pool; what its workers run first is stored on the way."""
    from gridloom.calls.client import interpreter

    given = cast("PoolOptions", options)
    spec = pool_spec(given, calls.defaults, python=interpreter(calls.connection))
    function = options.get("initializer")
    if function is None:
        return spec
    session, args = calls.session, tuple(options.get("initargs", ()))
    codec = PayloadCodec(session.objects, inline_limit_bytes=_INLINE_INITIALIZER_BYTES)
    initializer = codec.encode_initializer(function, args)
    spec.initializer = initializer.data
    spec.objects.extend(initializer.objects)
    bundle = stored_bundle(function, session.objects)
    if bundle is not None:
        spec.bundle.CopyFrom(bundle)
    return spec


def open_pool(calls: Calls, identifier: str) -> Pool:
    """The handle of an existing pool."""
    found = calls.connection.run(get_pool(identifier))
    return Pool(calls, found.id, {"workers": found.most_workers or found.workers})
