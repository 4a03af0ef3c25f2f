"""A process's gRPC server, and the life of the services on it: start, ready, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any, cast

import grpc

from gridloom_services.common.app import Limits
from gridloom_services.common.errors import PortInUseError
from gridloom_services.common.health import Health, LazyReflection
from gridloom_services.common.interceptors.chain import CallRules, interceptors
from gridloom_services.common.pipes import PipeDoor

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from gridloom_services.common.app import App
    from gridloom_services.common.stop import Stop

_log = logging.getLogger(__name__)

# What is still sent when the last call is over: answers, and refusals of calls that came too late.
_FAREWELL_S = 1.0

# How long the services have to let go after the server has ended.
_LAST_SECONDS = 5.0


# What a kernel takes.
_LONGEST_SOCKET_PATH = 107

# A client that says nothing for so long is asked, and gone when it does not answer within that.
_SILENCE_MS = 20_000


def server_options(limits: Limits, *, silence_ms: int = _SILENCE_MS) -> list[tuple[str, int]]:
    """The channel arguments of every server."""
    return [
        # Else a second process could bind the same port silently and take half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.message),
        ("grpc.max_send_message_length", limits.message),
        # A client may ask often whether we live: it wants to know soon, and that costs us nothing.
        ("grpc.http2.min_ping_interval_without_data_ms", 5000),
        ("grpc.keepalive_permit_without_calls", 1),
        # And we ask: one that is frozen, or whose machine is gone, does not say goodbye. With its
        # own ping gRPC would have a patience of its own, of a minute.
        ("grpc.keepalive_time_ms", silence_ms),
        ("grpc.http2.ping_timeout_ms", silence_ms),
        ("grpc.http2.max_pings_without_data", 0),
    ]


class PlatformServer:
    """A gRPC server with health, reflection and our interceptors, and the apps on it.

    `bind`, then `add` each app, then `start`; `stop` in the end, whatever failed before.
    """

    def __init__(self, rules: CallRules, limits: Limits | None = None) -> None:
        self.rules = rules
        self.address = ""
        self.inner_address = ""
        self.socket = ""
        self._apps: list[App] = []
        self._health = Health()
        self._health_server: grpc.aio.Server | None = None
        self._is_listening = False
        self._is_serving = False
        limits = limits or Limits()
        chain = interceptors(rules)
        self.grpc = grpc.aio.server(interceptors=chain, options=server_options(limits))
        self.pipes = PipeDoor(chain, limits.message)

    def bind(
        self, host: str, *ports: int, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        """Take the first of the ports that is free (0: any), for `address`; None: without TLS.

        With TLS there is a port without it besides, which only this machine reaches:
        `inner_address`. PortInUseError names the last port if none is free.
        """
        for port in ports:
            try:
                self.address = f"{host}:{self._bound(f'{host}:{port}', credentials)}"
            except RuntimeError:
                continue
            self.inner_address = self.address
            if credentials is not None:
                self.inner_address = f"127.0.0.1:{self._bound('127.0.0.1:0', None)}"
            return
        raise _in_use(host, ports[-1])

    def bind_inner(self, host: str, port: int) -> int:
        """Take a port without TLS beside the other: for the processes of jobs; returns it."""
        return self._bound_or_refused(self.grpc, host, port)

    def bind_health(self, host: str, port: int) -> int:
        """Take a port where there is health and nothing else, without TLS; returns it."""
        self._health_server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        return self._bound_or_refused(self._health_server, host, port)

    @staticmethod
    def _bound_or_refused(server: grpc.aio.Server, host: str, port: int) -> int:
        try:
            return server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise _in_use(host, port) from error

    def bind_socket(self, path: Path) -> None:
        """Listen at a path too, for programs of this user; `socket` stays empty where it cannot be.

        Messages take no longer there than over TCP, mostly less. A dead process's is replaced.
        """
        if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
            return
        try:
            self.grpc.add_insecure_port(f"unix:{path}")
            path.chmod(0o600)
        except (RuntimeError, OSError) as error:
            _log.info("no socket at %s: %s", path, error)
            return
        self.socket = str(path)

    def _bound(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        if credentials is None:
            return self.grpc.add_insecure_port(address)
        return self.grpc.add_secure_port(address, credentials)

    def add(self, app: App) -> None:
        """Register an app. The order of adding is the order of starting."""
        app.add_to(cast("grpc.aio.Server", _Both(self.grpc, self.pipes)))
        self.rules.gang_methods.update(app.gang_methods)
        self.rules.readiness.expect(set(app.grpc_services))
        self._apps.append(app)

    @property
    def apps(self) -> Sequence[App]:
        """In their order."""
        return self._apps

    async def start(self) -> None:
        """Listen, start each app, and say that all are ready, last of all.

        Each app answers as soon as its own start is over, so that later ones can call it.
        """
        names = [name for app in self._apps for name in app.grpc_services]
        self._health.add_to(self.grpc)
        LazyReflection(names).add_to(self.grpc)
        await self._health.set(["", *names], is_serving=False)
        if self._health_server is not None:
            self._health.add_to(self._health_server)
            await self._health_server.start()
        await self.grpc.start()
        await self.pipes.start()
        self._is_listening = True
        for app in self._apps:
            await app.start()
            self.rules.readiness.set_ready(set(app.grpc_services))
            await self._health.set(app.grpc_services, is_serving=True)
        await self._health.set([""], is_serving=True)
        self._is_serving = True

    async def stop(self, stop: Stop, grace_s: float) -> None:
        """End in two stages: first in good order, then, after `grace_s` or when forced, at once.

        Stage one: not ready any more, new calls are refused, the apps bring their streams to an
        end, calls under way are waited for. Stage two: they are cancelled. Then the apps let go. It
        is fine after a `start` that failed.
        """
        deadline = asyncio.get_running_loop().time() + grace_s
        forced = asyncio.ensure_future(_until(stop, deadline))
        try:
            if self._is_serving:
                await _unless(forced, self._drain())
            if self._is_listening:
                await self._stop_listening(forced)
        finally:
            forced.cancel()
        await self.pipes.stop()
        for app in reversed(self._apps):
            await self._stop_app(app)
        if self._health_server is not None:
            await self._health_server.stop(None)

    async def _stop_listening(self, forced: asyncio.Future[None]) -> None:
        # gRPC leaves a call that comes at the moment of its stop without an answer for as long as
        # it waits for the others: so we wait ourselves, and refuse meanwhile what comes.
        await _unless(forced, self.rules.readiness.none_under_way())
        # A stop that waits is never cancelled: gRPC would take that for the end of its server, and
        # whoever stops it then is told CancelledError.
        patient = asyncio.ensure_future(self.grpc.stop(None if forced.done() else _FAREWELL_S))
        await asyncio.wait((patient, forced), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(self.grpc.stop(None), patient)

    async def _drain(self) -> None:
        await self._health.shut_down()
        self.rules.readiness.set_none_ready()
        await asyncio.gather(*(app.drain() for app in self._apps))

    async def _stop_app(self, app: App) -> None:
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await app.stop()
        except Exception:  # noqa: BLE001  # one that cannot end must not keep the others from it
            _log.exception("%s did not stop in good order", app.name)

    def is_idle(self) -> bool:
        """No app has work, and no program of a user is calling."""
        return self.rules.activity.open_calls == 0 and all(app.is_idle() for app in self._apps)


class _Both:
    """What a servicer is registered with: gRPC's server and our door for streams."""

    def __init__(self, server: grpc.aio.Server, pipes: PipeDoor) -> None:
        self._server = server
        self._pipes = pipes

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._server.add_generic_rpc_handlers(handlers)
        self._pipes.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        self._server.add_registered_method_handlers(service, handlers)


def _in_use(host: str, port: int) -> PortInUseError:
    return PortInUseError(
        f"port {port} of {host} cannot be used, most likely because another process"
        " listens there: choose another, or 0 for any free one",
        field="port",
        given=port,
    )


async def _until(stop: Stop, deadline: float) -> None:
    """Return when the stop is forced, which the deadline does too."""
    try:
        async with asyncio.timeout_at(deadline):
            await stop.forced()
    except TimeoutError:
        stop.force("the grace is over")


async def _unless(forced: asyncio.Future[None], work: Coroutine[Any, Any, None]) -> None:
    """Do the work, but leave it when `forced` is done."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task, forced}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
