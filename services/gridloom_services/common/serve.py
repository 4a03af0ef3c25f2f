"""The life of a process of ours, whether it runs one service or all of them.

# objects/__main__.py
from gridloom_services.common import grpc_environment

grpc_environment.prepare()

from gridloom_services.common.serve import run_alone
...
sys.exit(run_alone("objects", ObjectsSettings, build, SCHEMA))
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from gridloom.values import dataclass

from gridloom_services.common import grpc_environment
from gridloom_services.common.app import PlatformContext
from gridloom_services.common.entrance import Entrance
from gridloom_services.common.errors import BrokenError, PortInUseError, SettingsError, StartError
from gridloom_services.common.lock import FolderLock
from gridloom_services.common.logs import configure_logs
from gridloom_services.common.metrics import NO_METRICS, MetricsServer, PrometheusMetrics
from gridloom_services.common.migrate import migrate
from gridloom_services.common.server import PlatformServer
from gridloom_services.common.settings import load_server_settings, load_settings
from gridloom_services.common.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from pathlib import Path

    import grpc

    from gridloom_services.common.app import App
    from gridloom_services.common.metrics import Metrics
    from gridloom_services.common.schema import Schema
    from gridloom_services.common.settings import ServerSettings

_log = logging.getLogger(__name__)

EXIT_CANNOT_START = 1
EXIT_WRONG_SETTINGS = 2
EXIT_BROKEN = 70
_EXIT_CODES = {SettingsError: EXIT_WRONG_SETTINGS, BrokenError: EXIT_BROKEN}


@dataclass(frozen=True, slots=True)
class Part:
    """One service to run: its word, how it is built, and its settings."""

    name: str
    build: Callable[[PlatformContext, Any], Awaitable[App]]
    settings: Any


class Platform:
    """A process that serves: composed, started, stopped in two stages.

        platform = Platform(settings, stop)
        await platform.start(parts)
        await stop.requested()
        await platform.stop()

    After a failed `start`, `stop` cleans up.
    """

    def __init__(self, settings: ServerSettings, stop: Stop) -> None:
        self._settings = settings
        self._stop = stop
        self._cleanup = contextlib.AsyncExitStack()
        self.home = settings.home
        self.token_file = settings.home / "token"
        self.server: PlatformServer
        self.metrics_port: int | None = None

    @property
    def address(self) -> str:
        """Where it is reached: HOST:PORT."""
        return self.server.address

    @property
    def inner_address(self) -> str:
        """Where programs of this machine reach it, without TLS: HOST:PORT."""
        return self.server.inner_address

    async def start(
        self,
        parts: Sequence[Part],
        *,
        ports: Sequence[int] | None = None,
        socket: Path | None = None,
        pipes: Path | None = None,
    ) -> None:
        """Compose the parts and start them; when it returns, all of them answer.

        The first of `ports` (the settings' one) that is free is taken, and `socket` and `pipes`
        where those can be. StartError says why it cannot be.
        """
        grpc_environment.release()
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        entrance = Entrance(self._settings, _name(parts))
        self._cleanup.push_async_callback(entrance.close)
        metrics = self._metrics()
        self.server = PlatformServer(entrance.rules(metrics))
        self._bind(entrance.server_credentials(), ports or [self._settings.port])
        if socket is not None:
            self._cleanup.callback(socket.unlink, missing_ok=True)
            self.server.bind_socket(socket)
        if pipes is not None:
            self.server.pipes.bind(pipes)
        self._cleanup.push_async_callback(self._end_server)
        entrance.channels.are_here(self.server.inner_address, [part.name for part in parts])
        context = PlatformContext(
            home=self.home,
            address=self._settings.public_address or self.server.inner_address,
            channels=entrance.channels,
            gang_tokens=entrance.gang_tokens,
            stop=self._stop,
            metrics=metrics,
            keys=entrance.keys,
            audit=entrance.audit,
            bootstrap_key_file=self._settings.bootstrap_admin_key_file,
            common_database_url=self._settings.database_url,
            start_patience_s=self._settings.start_patience_s,
        )
        await self._compose(context, parts)
        await self.server.start()
        entrance.start()
        # What is here now stays until the end: no collection needs to look at it again.
        gc.freeze()
        gc.enable()
        _log.info("ready", extra={"address": self.address, "pid": os.getpid()})

    def _bind(self, credentials: grpc.ServerCredentials | None, ports: Sequence[int]) -> None:
        settings = self._settings
        self.server.bind(settings.host, *ports, credentials=credentials)
        if settings.inner_port is not None:
            self.server.bind_inner(settings.host, settings.inner_port)
        if settings.health_port is not None:
            self.server.bind_health(settings.host, settings.health_port)

    async def _compose(self, context: PlatformContext, parts: Sequence[Part]) -> None:
        for part in parts:
            self._cleanup.enter_context(FolderLock(context.folder(part.name)))
            self.server.add(await part.build(context, part.settings))

    async def stop(self) -> None:
        """End in good order, within the settings' grace; at once when the stop is forced."""
        await self._cleanup.aclose()
        _log.info("stopped", extra={"reason": self._stop.reason})

    async def _end_server(self) -> None:
        await self.server.stop(self._stop, self._settings.grace_s)

    def _metrics(self) -> Metrics:
        port = self._settings.metrics_port
        if port is None:
            return NO_METRICS
        metrics = PrometheusMetrics()
        try:
            server = MetricsServer(metrics.registry, self._settings.host, port)
        except OSError as error:
            raise PortInUseError(
                f"the metrics port {port} cannot be used: {error.strerror}", field="metrics_port"
            ) from error
        self.metrics_port = server.port
        self._cleanup.callback(server.close)
        return metrics


def _name(parts: Sequence[Part]) -> str:
    """What this process is called among services."""
    return parts[0].name if len(parts) == 1 else "platform"


def run_alone(
    service: str,
    kind: type[Any],
    build: Callable[[PlatformContext, Any], Awaitable[App]],
    schema: Schema | None,
) -> int:
    """Run one service as this process, until SIGTERM or SIGINT; the exit code.

    With the word `migrate` on the command line: only its migrations, of which a service that keeps
    nothing (`schema` is None) has none.
    """
    words = argparse.ArgumentParser(prog=f"python -m gridloom_services.{service}")
    words.add_argument("verb", nargs="?", choices=("serve", "migrate"), default="serve")

    def serve() -> None:
        settings = load_server_settings(service, os.environ)
        configure_logs(settings.log_level)
        part = Part(service, build, load_settings(service, kind, os.environ))
        run_loop(_serve(settings, part))

    if words.parse_args().verb == "migrate":
        return 0 if schema is None else guarded(lambda: migrate(service, kind, schema))
    return guarded(serve)


async def _serve(settings: ServerSettings, part: Part) -> None:
    """Until the end is asked for, which may be while the start still waits for something."""
    stop = Stop()
    stop.on_signals()
    platform = Platform(settings, stop)
    starting = asyncio.ensure_future(platform.start([part]))
    requested = asyncio.ensure_future(stop.requested())
    try:
        await asyncio.wait({starting, requested}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        await requested
    finally:
        requested.cancel()
        starting.cancel()
        await asyncio.gather(starting, requested, return_exceptions=True)
        await platform.stop()
    stop.check()


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on the loop that all our processes use."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def guarded(main: Callable[[], None]) -> int:
    """Run `main`; the exit code. What keeps a process from starting is told in one line."""
    try:
        main()
    except StartError as error:
        sys.stderr.write(f"gridloom: {error.message}\n")
        return _EXIT_CODES.get(type(error), EXIT_CANNOT_START)
    except OSError as error:
        # A full disk, a home that may not be written to: the system's sentence names the file.
        sys.stderr.write(f"gridloom: {error}\n")
        return EXIT_CANNOT_START
    return 0
