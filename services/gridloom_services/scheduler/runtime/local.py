"""Gangs as processes of this machine, each under a supervisor that outlives the platform."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from typing import TYPE_CHECKING, TypeVar

from gridloom.values import dataclass
from gridloom.worker.supervision import handover
from gridloom.worker.supervision.handover import Stop
from gridloom.worker.supervision.records import sync_folder, take_lock

from gridloom_services.scheduler.runtime.alarms import Doorbell
from gridloom_services.scheduler.runtime.base import (
    Feature,
    Gang,
    GangActiveError,
    GangNotFoundError,
    LogChunk,
    LogStream,
    NodeCapacity,
    Placement,
)
from gridloom_services.scheduler.runtime.beside import run_beside
from gridloom_services.scheduler.runtime.board import StatusBoard
from gridloom_services.scheduler.runtime.folders import Root
from gridloom_services.scheduler.runtime.launcher import Launcher
from gridloom_services.scheduler.runtime.life import UnitLife, Workshop
from gridloom_services.scheduler.runtime.machine import Claim, local_node
from gridloom_services.scheduler.runtime.staging import Staging
from gridloom_services.scheduler.runtime.streams import keep_stream, read_stream
from gridloom_services.scheduler.runtime.units import (
    Limits,
    Units,
    check_placement,
    first_units,
    members,
    resized,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
    from pathlib import Path

    from gridloom_services.scheduler.runtime.base import (
        ExecChunk,
        ObjectsDoor,
        ReplicaStatus,
        StoredStream,
    )
    from gridloom_services.scheduler.runtime.folders import GangFolder

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_THREADS = 4
_STARTS_AT_ONCE = 8
_FOLLOW_PAUSE_S = 0.01
_LONGEST_FOLLOW_PAUSE_S = 0.16


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What a local runtime may be told.

    `claim`: what it offers, if that is not what the machine has. `limits`: for every command.
    `storing_patience_s`: how long a store that refuses files is asked again.
    """

    node: str = "local"
    claim: Claim = field(default_factory=Claim)
    limits: Limits = field(default_factory=Limits)
    storing_patience_s: float = 60.0


class RootInUseError(RuntimeError):
    """Another runtime has the folder open."""


@dataclass(slots=True)
class _LocalGang:
    gang: Gang
    folder: GangFolder
    units: Units
    lives: dict[str, UnitLife] = field(default_factory=dict)
    # One verb at a time: each reads files, decides, and writes.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    exists: bool = False

    @property
    def is_over(self) -> bool:
        return all(life.over.is_set() for life in self.lives.values())


class LocalRuntime:
    """Keeps the promises of `Runtime` on one machine, in one folder (see `folders`).

    Commands inherit `environment`, but for what begins with GRIDLOOM_. It has no images: commands
    run in the platform's own installation. It must be opened, used and closed on one event loop.
    """

    features: frozenset[Feature] = frozenset({Feature.STDIN})

    def __init__(
        self,
        root: Path,
        objects: ObjectsDoor,
        environment: Mapping[str, str],
        settings: LocalSettings | None = None,
    ) -> None:
        self._root = Root(root)
        self._settings = settings or LocalSettings()
        self._environment = dict(environment)
        self._board = StatusBoard()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="runtime")
        self._shop = Workshop(
            board=self._board,
            launcher=Launcher(environment),
            staging=Staging(objects, self._settings.storing_patience_s),
            limits=self._settings.limits,
            threads=self._threads,
            starting=asyncio.Semaphore(_STARTS_AT_ONCE),
        )
        self._gangs: dict[str, _LocalGang] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock: int | None = None
        self._doorbell: Doorbell | None = None

    async def open(self) -> None:
        """Take the folder, and take up every life in it. Raises RootInUseError."""
        self._root.prepare()
        self._lock = take_lock(self._root.path / handover.LOCK)
        if self._lock is None:
            raise RootInUseError(f"another runtime has {self._root.path} open")
        # Before the files are read: what changes from now on rings.
        self._doorbell = Doorbell(self._root.path, self._ring)
        self._spawn(self._warm_up())
        for folder in self._root.gangs():
            self._adopt(folder)

    def _adopt(self, folder: GangFolder) -> None:
        read = folder.read()
        if read is None:  # its start had not come so far that anything ran
            return folder.remove()
        gang, units, same_boot = read
        known = self._gangs[gang.name] = _LocalGang(gang, folder, units, exists=True)
        for unit in units.values():
            life = known.lives[unit.name] = UnitLife(self._shop, gang, folder, unit)
            life.adopt(same_boot=same_boot)
            self._spawn(life.run())
        return None

    async def close(self) -> None:
        """Let go of the folder; supervisors go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._board.close()
        if self._doorbell is not None:
            self._doorbell.close()
        self._threads.shutdown(wait=True)
        self._shop.launcher.close()
        if self._lock is not None:
            os.close(self._lock)

    async def start(self, gang: Gang, placement: Placement) -> None:
        """Write the gang down, then bring its units to life."""
        check_placement(gang, placement, self._settings.node)
        folder = self._root.gang(gang.name)
        fresh = _LocalGang(gang, folder, first_units(gang, placement))
        known = self._gangs.setdefault(gang.name, fresh)
        async with known.turn:
            if known.exists:
                return
            self._gangs[gang.name] = known
            try:
                await self._in_thread(folder.create, gang, known.units)
            except OSError:
                self._gangs.pop(gang.name, None)
                await self._in_thread(folder.remove)
                raise
            known.exists = True
            self._enliven(known)

    def _enliven(self, known: _LocalGang) -> None:
        for name, unit in known.units.items():
            if name not in known.lives:
                life = known.lives[name] = UnitLife(self._shop, known.gang, known.folder, unit)
                self._spawn(life.run())

    async def resize(self, name: str, role: str, assignments: Placement) -> None:
        """Write down what is wanted, then tell old units and bring new ones to life."""
        known = self._known(name)
        check_placement(known.gang, assignments, self._settings.node)
        async with known.turn:
            if known.is_over or known.folder.stop() is not None:
                self._board.came_too_late(name, assignments, members(known.units))
                return
            over = {name for name, life in known.lives.items() if life.has_ended}
            units = resized(known.units, known.gang.role(role), assignments, over.__contains__)
            if units != known.units:
                await self._in_thread(known.folder.write_units, units)
                known.units = units
            for life in known.lives.values():
                life.change(units[life.unit.name])
            self._enliven(known)

    async def stop(self, name: str, grace_s: float, reason: str) -> None:
        """Write down that it is to end, then tell its units."""
        known = self._known(name)
        async with known.turn:
            if known.is_over:
                return
            stop = Stop(reason, time.time() + grace_s)
            before = known.folder.stop()
            wanted = before.merged(stop) if before else stop
            if wanted != before:
                await self._in_thread(known.folder.write_stop, wanted)
            for life in known.lives.values():
                life.poke()

    async def forget(self, name: str) -> None:
        """Remove the gang's folder."""
        known = self._gangs.get(name)
        if known is None:
            return
        async with known.turn:
            if not known.is_over:
                raise GangActiveError(f"{name} has replicas that have not ended")
            self._gangs.pop(name, None)
            self._board.remove(name)
            await self._in_thread(known.folder.remove)

    async def names(self) -> frozenset[str]:
        """The gangs that have a folder."""
        return frozenset(name for name, known in self._gangs.items() if known.exists)

    def watch(self) -> AsyncIterator[ReplicaStatus]:
        """Present statuses, then changes."""
        return self._board.watch()

    async def logs(
        self,
        name: str,
        role: str,
        index: int,
        stream: LogStream,
        offset: int = 0,
        limit: int = 65536,
        wait_s: float = 0.0,
    ) -> LogChunk:
        """Read a unit's stream; waiting looks again, ever less often."""
        life = self._life(name, role, index)
        path = life.files.path / stream.value
        deadline = time.monotonic() + wait_s
        pause_s = _FOLLOW_PAUSE_S
        while True:
            chunk = read_stream(path, offset, limit, is_over=life.has_ended)
            if chunk.data or chunk.complete or time.monotonic() >= deadline:
                return chunk
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(life.over.wait(), pause_s)
            pause_s = min(2 * pause_s, _LONGEST_FOLLOW_PAUSE_S)

    async def keep_logs(self, name: str, destination: Path) -> Mapping[str, StoredStream]:
        """Move the streams of every unit."""
        await self._in_thread(_keep_logs, self._known(name), destination)
        return {}

    async def exec(
        self,
        name: str,
        role: str,
        index: int,
        command: tuple[str, ...],
        stdin: AsyncIterator[bytes],
    ) -> AsyncGenerator[ExecChunk, None]:
        """Run a command beside a running unit."""
        life = self._life(name, role, index)
        if life.has_ended or life.files.state() is None:
            raise GangNotFoundError(f"{name} {role}.{index} is not running")
        running = run_beside(life.files.path, command, stdin, self._environment)
        async with contextlib.aclosing(running) as chunks:
            async for chunk in chunks:
                yield chunk

    async def capacity(self) -> tuple[NodeCapacity, ...]:
        """The one node."""
        return (local_node(self._settings.node, self._settings.claim),)

    async def capacity_changed(self) -> None:
        """Never: the machine stays what it is."""
        await asyncio.Event().wait()

    def _ring(self, unit: str) -> None:
        gang, _, name = unit.partition("/")
        known = self._gangs.get(gang)
        if known is not None and name in known.lives:
            known.lives[name].ring()

    def _known(self, name: str) -> _LocalGang:
        known = self._gangs.get(name)
        if known is None:
            raise GangNotFoundError(f"no gang {name}")
        return known

    def _life(self, name: str, role: str, index: int) -> UnitLife:
        for life in self._known(name).lives.values():
            if life.unit.role == role and index in life.unit.known:
                return life
        raise GangNotFoundError(f"{name} has no replica {role}.{index}")

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("a gang is not watched any more", exc_info=error)

    async def _in_thread(self, work: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _warm_up(self) -> None:
        with contextlib.suppress(OSError):  # the first start will say so
            await self._in_thread(self._shop.launcher.warm_up)


def _keep_logs(known: _LocalGang, destination: Path) -> None:
    """They are there for good when this returns: the gang's own folder goes next."""
    destination.mkdir(parents=True, exist_ok=True)
    for life in known.lives.values():
        for stream in LogStream:
            target = destination / f"{life.unit.name}.{stream.value}"
            keep_stream(life.files.path / stream.value, target)
    # The folder of its job, and the one of all jobs, may be new too.
    for folder in (destination, *destination.parents[:2]):
        sync_folder(folder)
