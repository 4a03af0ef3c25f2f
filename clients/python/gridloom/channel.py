"""The way to the platform: one channel, its token, its retries, and its errors as exceptions.

A call that fails because nobody answered is tried again within its deadline, after the pause that
the server asked for or a doubling one of ours; the platform is looked up anew each time, since an
embedded one that was killed comes back at another address. All methods may be used from any thread
and in a forked child, which gets a channel of its own.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import grpc

from gridloom.errors import UnavailableError
from gridloom.operation import Blocking, Call
from gridloom.patience import Patience
from gridloom.rpc_errors import Refusal, broken_off, refusal_of
from gridloom.services import new_stub
from gridloom.stillness import await_stillness
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gridloom.endpoint import Endpoint
    from gridloom.operation import Effect, Following, Operation

T = TypeVar("T")

DEFAULT_PATIENCE_S = 60.0


class Locator(Protocol):
    """Knows where the platform is now."""

    @property
    def name(self) -> str:
        """How people and pickled handles call the platform: its home folder or address."""
        ...

    def find(self, *, may_start: bool) -> Endpoint:
        """The platform, found or (where it may and can) started; else an `UnavailableError`."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint and the channel that was opened to it."""

    endpoint: Endpoint
    channel: Any
    """A synchronous channel, or one of an event loop."""
    stubs: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def stub(self, service: str) -> Any:
        """The service's stub, made once."""
        if service not in self.stubs:
            self.stubs[service] = new_stub(service, self.channel)
        return self.stubs[service]


class Connection:
    """A platform, as this process reaches it. It opens again on use after a `close()`."""

    def __init__(self, locator: Locator, *, patience_s: float = DEFAULT_PATIENCE_S) -> None:
        self.locator = locator
        self.patience_s = patience_s
        self.forget()
        _connections.add(self)

    def forget(self) -> None:
        """Leave the channel to whoever owns it: a forked child's parent."""
        self._lock = threading.RLock()
        self._endpoint: Endpoint | None = None
        self._route: Route | None = None

    def begin_at(self, endpoint: Endpoint) -> None:
        """The platform has been found already: it need not be looked up."""
        with self._lock:
            self._endpoint = endpoint

    def endpoint(self) -> Endpoint:
        """Where the platform is, looked up (and started, where that is possible) when unknown."""
        with self._lock:
            if self._endpoint is None:
                self._endpoint = self.locator.find(may_start=True)
            return self._endpoint

    def route(self) -> Route:
        """The channel to use now, and where it leads. Ask again after `renew`."""
        with self._lock:
            if self._route is None:
                endpoint = self.endpoint()
                self._route = Route(endpoint, open_channel(endpoint))
            return self._route

    def renew(self, broken: Endpoint, *, may_start: bool = True) -> None:
        """Look the platform up anew, unless another thread has done so since `broken` was seen.

        An `UnavailableError` where it is not there and may not be started.
        """
        with self._lock:
            if self._endpoint != broken:
                return
            found = self.locator.find(may_start=may_start)
            if found != broken:
                # The old channel ends with the last stream that still uses it.
                self._endpoint, self._route = found, None

    def close(self) -> None:
        """End the channel and whatever runs on it."""
        with self._lock:
            if self._route is not None:
                self._route.channel.close()
            self._endpoint = self._route = None

    def pause(self) -> bool:
        """Close the channel and open none before `resume`; whether there was one to close.

        Both are called by the thread that forks. Whoever is waiting for an answer tries again.
        """
        self._lock.acquire()
        route, self._route = self._route, None
        if route is not None:
            route.channel.close()
        return route is not None

    def resume(self) -> None:
        """A channel may be opened again."""
        self._lock.release()

    # ---- operations

    def run(self, operation: Operation[T]) -> T:
        """Drive an operation to its result."""
        try:
            effect = next(operation)
            while True:
                try:
                    answer = self._done(effect)
                except Exception as error:  # noqa: BLE001  # the operation may know better
                    effect = operation.throw(error)
                else:
                    effect = operation.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def _done(self, effect: Effect) -> object:
        if isinstance(effect, Call):
            return self.call(effect)
        if isinstance(effect, Blocking):
            return effect.work(self)
        return list(self.follow(effect.following, timeout_s=effect.timeout_s))

    def call(self, call: Call) -> Any:
        """One answer to one request."""
        return self.attempt(lambda route, left_s: self._begun(route, call, left_s), call.timeout_s)

    def attempt(
        self, work: Callable[[Route, float | None], T], timeout_s: float | None = None
    ) -> T:
        """What `work` returns; it is called again where the platform did not answer in time.

        It is given the route to use and the seconds that are left.
        """
        patience = Patience(self.patience_s if timeout_s is None else timeout_s)
        while True:
            route = self.route()
            try:
                return work(route, patience.remaining_s)
            except grpc.RpcError as error:
                refusal = refusal_of(error, route.endpoint.address)
                self._wait_or_raise(refusal, route.endpoint, patience)

    def transfer(self, work: Callable[[Route], T], moved: Callable[[], int]) -> T:
        """What `work` returns, however long it takes, as long as `moved()` grows.

        It is called again where the platform fell silent; patience is for silence only.
        """
        patience, seen = Patience(self.patience_s), moved()
        while True:
            route = self.route()
            try:
                return work(route)
            except grpc.RpcError as error:
                if moved() != seen:
                    seen = moved()
                    patience.renewed()
                refusal = refusal_of(error, route.endpoint.address)
                self._wait_or_raise(refusal, route.endpoint, patience)

    def follow(self, following: Following[T], *, timeout_s: float | None = None) -> Iterator[T]:
        """What the stream brings, taken up again where it breaks off.

        A `TimeoutError` after `timeout_s`, however much came until then.
        """
        limit, patience = Patience(timeout_s), Patience(self.patience_s)
        while not following.over:
            route = self.route()
            patience.stream_begins()
            try:
                yield from self._stretch(route, following, limit, patience)
                refusal = Refusal(broken_off(route.endpoint.address), is_transient=True)
            except grpc.RpcError as error:
                refusal = refusal_of(error, route.endpoint.address)
                if refusal.is_deadline and timeout_s is not None:
                    raise TimeoutError(f"not over after {timeout_s:g} s") from None
            if not following.over:
                patience.stream_ended(was_told=not refusal.is_silence)
                # Who only looks on does not start a platform that was stopped on purpose.
                self._wait_or_raise(refusal, route.endpoint, patience, may_start=False)

    def _stretch(
        self, route: Route, following: Following[T], limit: Patience, patience: Patience
    ) -> Iterator[T]:
        """One stream, until it ends or breaks off or enough was read."""
        stream = self._begun(route, following.call(), limit.remaining_s)
        try:
            for answer in stream:
                patience.renewed()
                yield from following.feed(answer)
                if following.over:
                    return
            yield from following.finish()
        finally:
            stream.cancel()

    @staticmethod
    def _begun(route: Route, call: Call, timeout_s: float | None) -> Any:
        method = getattr(route.stub(call.service), call.method)
        return method(call.request, timeout=timeout_s, metadata=route.endpoint.metadata)

    def _wait_or_raise(
        self, refusal: Refusal, endpoint: Endpoint, patience: Patience, *, may_start: bool = True
    ) -> None:
        pause_s = patience.next_pause_s(refusal.hint_s) if refusal.is_transient else None
        if pause_s is None:
            raise refusal.error from None
        if refusal.is_silence:
            self.look_again(endpoint, may_start=may_start)
        time.sleep(pause_s)

    def look_again(self, broken: Endpoint, *, may_start: bool) -> None:
        """`renew`, except that a platform which may not be started may also come back later.

        A `TlsError` where it is there and waiting would not help.
        """
        self._check_tls(broken)
        try:
            self.renew(broken, may_start=may_start)
        except UnavailableError:
            if may_start:
                raise

    def _check_tls(self, broken: Endpoint) -> None:
        from gridloom.locate import FixedAddress

        if isinstance(self.locator, FixedAddress):
            from gridloom.tls_trouble import tls_trouble

            trouble = tls_trouble(broken)
            if trouble is not None:
                raise trouble


def open_channel(endpoint: Endpoint) -> grpc.Channel:
    """A synchronous channel to a platform."""
    if not endpoint.tls:
        return grpc.insecure_channel(endpoint.target, options=endpoint.options)
    credentials = grpc.ssl_channel_credentials(endpoint.root_certificates())
    return grpc.secure_channel(endpoint.address, credentials, options=endpoint.options)


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


class _Fork:
    """What a fork does to open channels.

    A process that is forked while threads are inside gRPC has a child in which gRPC may hang or
    abort. So channels are closed and their threads waited for before it; the parent opens them
    again when they are next used, and the child opens its own.
    """

    def __init__(self) -> None:
        self._paused: list[Connection] = []

    def before(self) -> None:
        self._paused = list(_connections)
        closed = [connection.pause() for connection in self._paused]
        if any(closed):
            await_stillness()

    def in_parent(self) -> None:
        paused, self._paused = self._paused, []
        for connection in paused:
            connection.resume()

    def in_child(self) -> None:
        for connection in list(_connections):
            connection.forget()


_fork = _Fork()
os.register_at_fork(
    before=_fork.before, after_in_parent=_fork.in_parent, after_in_child=_fork.in_child
)
