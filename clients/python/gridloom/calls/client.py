"""The side of a client that calls Python functions."""

from __future__ import annotations

import inspect
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

from gridloom import ids
from gridloom.calls import fork
from gridloom.calls.function import Function, as_function
from gridloom.calls.future import CallFuture
from gridloom.calls.handle import arrived_group
from gridloom.calls.mapping import start_map, start_starmap
from gridloom.calls.options import CallOptions, call_spec
from gridloom.calls.output import output_listener
from gridloom.calls.route import Route
from gridloom.calls.sending import send_call
from gridloom.calls.session import Session
from gridloom.errors import InvalidRequestError
from gridloom.profiles.options import profile_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gridloom.calls.map import MapResults
    from gridloom.calls.options import PoolOptions
    from gridloom.calls.pool import Pool
    from gridloom.channel import Connection
    from gridloom.client import Client
    from gridloom.options import Defaults

R = TypeVar("R")

# Calls that a worker of each model runs at once, where nothing was said.
_SLOTS = {"processes": 1, "threads": 32, "asyncio": 256}
# How many workers a platform elsewhere may have, until more is known.
_WORKERS_ELSEWHERE = 16


class Calls:
    """Calls, maps, workflows and pools of one client. Safe to use from any thread."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._epoch = fork.epoch()

    @property
    def connection(self) -> Connection:
        """The way to the platform."""
        return self._client.connection

    @property
    def defaults(self) -> Defaults:
        """Project and queue where nothing is said."""
        return self._client.defaults

    @property
    def session(self) -> Session:
        """The stream that calls go on; another one after a fork, a failure or a close."""
        session = self._session
        if session is not None and session.usable:
            return session
        if self._epoch != fork.epoch():  # the parent's lock may be held by a thread left behind
            self._epoch, self._lock = fork.epoch(), threading.Lock()
        with self._lock:
            if self._session is None or not self._session.usable:
                self._session = Session(self.connection, project=self.defaults.project)
            return self._session

    def close(self) -> None:
        """Send what was submitted, and end the session."""
        if self._session is not None:
            self._session.close()

    # ---- verbs

    def submit(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> CallFuture[R]:
        """Call it on the platform."""
        known, before = as_function(function)
        return self.send(known, (*before, *args), kwargs)

    def map(
        self, function: Callable[..., R], /, *iterables: Iterable[Any], **options: Any
    ) -> MapResults[R]:
        """Call it for each item; an iterator over the results."""
        return start_map(self, self._whole(function), iterables, options)

    def starmap(
        self, function: Callable[..., R], arguments: Iterable[Iterable[Any]], /, **options: Any
    ) -> MapResults[R]:
        """Call it with each tuple of arguments; an iterator over the results."""
        return start_starmap(self, self._whole(function), arguments, options)

    def map_reduce(
        self, function: Callable[..., Any], /, *iterables: Iterable[Any], **options: Any
    ) -> Any:
        """Map, and fold the results on the workers."""
        from gridloom.calls.mapreduce import map_reduce

        return map_reduce(self, self._whole(function), iterables, options)

    def pool(self, **options: Unpack[PoolOptions]) -> Pool:
        """A pool of warm workers of one's own."""
        from gridloom.calls.pool import create_pool

        return create_pool(self, options)

    def get(self, identifier: str) -> Any:
        """The handle of a call, group or pool; a `NotFoundError` where it does not exist."""
        kind = ids.kind_of(identifier)
        if kind != "pool":
            self.let_arrive(identifier)
        if kind == "call":
            from gridloom.calls.attach import foreign_call

            future = foreign_call(self.connection, identifier)
            _ = future.state  # it exists
            return future
        if kind == "group":
            from gridloom.calls.group import Group

            return Group(self.connection, identifier).refreshed()
        from gridloom.calls.pool import open_pool

        return open_pool(self, identifier)

    def let_arrive(self, identifier: str) -> None:
        """What this process has submitted itself may still be on its way."""
        session = self._session
        if session is None or f"_{session.name}_" not in identifier:
            return
        if ids.kind_of(identifier) == "group":
            if ids.split_group_id(identifier)[1] in session.outbox.spoken.groups:
                arrived_group(session, identifier)
        elif session.usable:
            session.flush(self.connection.patience_s)

    # ---- for functions

    def send(
        self,
        function: Function[..., R],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        new: Callable[[Session, str], CallFuture[Any]] = CallFuture,
    ) -> CallFuture[R]:
        """Send one call of a function with its options; `new` makes its future."""
        return send_call(function.route(self), args, kwargs, new)

    def new_route(self, function: Function[..., Any], group: int = 0) -> Route:
        """The way of a function's calls, in a group of their own where it is not 0."""
        session, options = self.session, function.call_options
        if inspect.iscoroutinefunction(function.function) and "pool" not in options:
            options.setdefault("concurrency", "asyncio")
        profile = profile_kind(options.get("profile"))
        if profile:
            _check_has_profile(function)
            options.setdefault("name", function.name)  # what has a name is kept
        digest = session.digest_of(function.function, profile)
        spec = call_spec(options, digest, self.defaults, python=interpreter(self.connection))
        spec.group = group
        spec.not_durable = spec.not_durable and session.objects.has_memory()
        refusals = session.refusals
        return Route(
            calls=self,
            session=session,
            spec=session.spec_number(spec),
            label=function.name,
            digest=digest,
            workers=expected_parallelism(options, self.connection),
            refusals=refusals,
            listener=output_listener(options.get("output")),
            durable=not spec.not_durable,
            tracker=getattr(options.get("pool"), "tracker", None),
        )

    def _whole(self, function: Callable[..., R]) -> Function[..., R]:
        """The callable as a function, data before its arguments bound to it."""
        known, before = as_function(function)
        if not before or known is function:
            return known
        return cast("Function[..., R]", Function(known.function, known.call_options, before))


def _check_has_profile(function: Function[..., Any]) -> None:
    if inspect.iscoroutinefunction(function.function):
        raise InvalidRequestError(
            f"{function.name} cannot have a profile: a coroutine shares its thread with others",
            field="profile",
        )


def interpreter(connection: Connection) -> str:
    """The Python for workers that share this machine; empty: that of their image."""
    return sys.executable if connection.endpoint().is_local else ""


def expected_parallelism(options: CallOptions, connection: Connection) -> int:
    """How many items are likely to run at once: what a map's first chunks go by."""
    pool = options.get("pool")
    told: Mapping[str, Any] = options
    if pool is not None and not isinstance(pool, str):
        told = pool.given
    slots = told.get("slots") or _SLOTS[told.get("concurrency", "processes")]
    workers = told.get("workers")
    if not workers:
        is_local = connection.endpoint().is_local
        room = (os.cpu_count() or 1) if is_local else _WORKERS_ELSEWHERE
        workers = max(int(room / (told.get("cpus") or 1)), 1)
    expected = int(slots * workers)
    return min(expected, options.get("max_parallel") or expected)


def calls_of(client: Client | None) -> Calls:
    """The client's own, or those of the client that was connected last."""
    if client is not None:
        return client.calls
    from gridloom.client import current_client

    return current_client().calls
