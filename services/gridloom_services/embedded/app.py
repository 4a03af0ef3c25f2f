"""The composition root of the embedded platform: which services, from where, with what."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any

from gridloom_services.common.logs import configure_logs
from gridloom_services.common.serve import Part, Platform, guarded, run_loop
from gridloom_services.common.settings import load_server_settings, load_settings
from gridloom_services.common.stop import Stop
from gridloom_services.embedded.handover import take_home
from gridloom_services.embedded.idle import IdleClock, until_idle
from gridloom_services.embedded.record import (
    PlatformRecord,
    last_port,
    remember_port,
    remove_record,
)
from gridloom_services.embedded.settings import EmbeddedSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gridloom_services.common.settings import ServerSettings

# Each is started after those that it calls, and stopped before them.
SERVICES = ("objects", "scheduler", "functions", "mpi")
_SOCKET = "platform.sock"
_PIPES = "pipes.sock"


def run(asked: Mapping[str, Any]) -> int:
    """Run the platform until it is told to end or is idle; the exit code."""

    def main() -> None:
        environment = os.environ
        server = load_server_settings("embedded", environment, asked)
        own = load_settings("embedded", EmbeddedSettings, environment, _own(asked))
        parts = service_parts(environment, asked)
        with take_home(server.home, own.handover_s):
            _log_to_file(server.home / "log", own.log_bytes, server.log_level)
            run_loop(serve(server, own, parts))

    return guarded(main)


def service_parts(environment: Mapping[str, str], asked: Mapping[str, Any]) -> list[Part]:
    """Every service with its settings, in the order of starting."""
    return [_part(name, environment, _overrides(name, asked)) for name in SERVICES]


async def serve(server: ServerSettings, own: EmbeddedSettings, parts: Sequence[Part]) -> None:
    """From composition to the last breath."""
    stop = Stop()
    stop.on_signals()
    platform = Platform(server, stop)
    try:
        await _start(platform, server, parts)
        _announce(platform)
        await _until_end(platform, stop, own.idle_timeout_s)
    finally:
        if stop.is_requested and not stop.failure:
            # Who only looks on takes that for a stop on purpose, and starts no platform. One that
            # ends by an error leaves its record as one does that is killed: its clients start it.
            remove_record(server.home)
        await platform.stop()
    stop.check()


async def _start(platform: Platform, server: ServerSettings, parts: Sequence[Part]) -> None:
    """On the port of last time, unless it was taken meanwhile or another is wanted."""
    ports = None if server.port else (last_port(server.home), 0)
    await platform.start(
        parts, ports=ports, socket=server.home / _SOCKET, pipes=server.home / _PIPES
    )
    remember_port(server.home, platform.address)


def _announce(platform: Platform) -> None:
    record = PlatformRecord.of_this_process(
        platform.inner_address,
        platform.token_file,
        metrics_port=platform.metrics_port,
        socket=platform.server.socket,
        pipes=platform.server.pipes.path,
    )
    record.write(platform.home)
    if sys.stdout.isatty():
        sys.stdout.write(f"Gridloom is ready on {platform.address}; its home is {platform.home}\n")


async def _until_end(platform: Platform, stop: Stop, idle_timeout_s: float) -> None:
    """Until somebody asks for the end, or nobody asks for anything any more."""
    server = platform.server
    clock = IdleClock(server.is_idle, lambda: server.rules.activity.quiet_s)
    idle = asyncio.ensure_future(until_idle(clock, idle_timeout_s))
    requested = asyncio.ensure_future(stop.requested())
    await asyncio.wait({idle, requested}, return_when=asyncio.FIRST_COMPLETED)
    stop.request(f"idle for {idle_timeout_s:g} s")
    idle.cancel()
    await asyncio.gather(idle, requested, return_exceptions=True)


def _part(name: str, environment: Mapping[str, str], overrides: Mapping[str, Any]) -> Part:
    """By the convention of `common/app.py`: `X/settings.py` has `XSettings`, `X/app.py` `build`."""
    kind = getattr(
        importlib.import_module(f"gridloom_services.{name}.settings"),
        f"{name.capitalize()}Settings",
    )
    build = importlib.import_module(f"gridloom_services.{name}.app").build
    return Part(name, build, load_settings(name, kind, environment, overrides))


def _overrides(service: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The words of the command line that are meant for this service."""
    meant = {
        "scheduler": {"cpus": asked.get("cpus"), "memory_bytes": asked.get("memory")},
        # Who stops this platform may not start it again: nothing of pools stays behind.
        "functions": {"workers": asked.get("workers"), "ends_pools": True},
    }
    return meant.get(service, {})


def _own(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {"idle_timeout_s": asked.get("idle_timeout")}


def _log_to_file(folder: Path, size_bytes: int, level: str) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    handler = RotatingFileHandler(
        folder / "platform.log", maxBytes=size_bytes, backupCount=2, encoding="utf-8"
    )
    configure_logs(level, handler)
