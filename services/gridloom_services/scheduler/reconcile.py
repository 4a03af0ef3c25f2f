"""Brings the runtime to what the store wants, gang by gang.

For each name there is a wanted state (what was last committed) and whatever the runtime has. Steps
towards it may be repeated and are: a crash, an error or a lost message only means that they are
taken again. Nothing is done before its reason is on disk.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from gridloom.values import dataclass

from gridloom_services.scheduler.gang import start_placement
from gridloom_services.scheduler.runtime.base import GangActiveError, GangNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gridloom_services.scheduler.archive import LogArchive
    from gridloom_services.scheduler.job import LiveGang
    from gridloom_services.scheduler.runtime.base import Gang, Runtime

_log = logging.getLogger(__name__)

# How many gangs are being started at once.
STARTS_AT_ONCE = 16
# A start that fails this often in the runtime itself is the node's fault.
MOST_START_FAILURES = 5
STRAY_GRACE_S = 10.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 30.0


class Steward(Protocol):
    """Who knows what gangs are made of, and what becomes of those that never were."""

    def gang_of(self, live: LiveGang) -> Gang | None:
        """Return what to start; None where it is not wanted any more."""

    def never_began(self, name: str) -> None:
        """Hear that a gang was ordered to stop before its start was begun."""

    def start_failed(self, name: str, reason: str) -> None:
        """Hear that the runtime cannot start or has lost a gang."""


@dataclass(slots=True)
class _Told:
    """What the runtime was told of a gang. `sizes` are the replicas of elastic roles."""

    begun: bool = False
    stopped: bool = False
    sizes: dict[str, frozenset[int]] = field(default_factory=dict)


class Reconciler:
    """Keeps the runtime's gangs as they are wanted: one task a gang, while there is work on it."""

    def __init__(self, runtime: Runtime, archive: LogArchive, steward: Steward) -> None:
        self._runtime = runtime
        self._archive = archive
        self._steward = steward
        self._wanted: dict[str, LiveGang] = {}
        self._told: dict[str, _Told] = {}
        self._dirty: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)

    # ---- what is wanted

    def adopt(self, gangs: Iterable[LiveGang], known: frozenset[str]) -> None:
        """Begin with what the store wants and what the runtime has."""
        for live in gangs:
            self._wanted[live.name] = live
        for name in known:
            self._told[name] = _Told(begun=True)
        for name in known | self._wanted.keys():
            self._wake(name)

    def bring(self, gangs: Mapping[str, LiveGang | None]) -> None:
        """Take over what was committed: gangs wanted as they are given, and None for those over."""
        for name, live in gangs.items():
            if live is None:
                self._wanted.pop(name, None)
            else:
                self._wanted[name] = live
            self._wake(name)

    def stray(self, name: str) -> None:
        """Look at a gang that the runtime reports and nobody wants."""
        self._told.setdefault(name, _Told(begun=True))
        self._wake(name)

    async def close(self) -> None:
        """Stop working; gangs stay as they are."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _wake(self, name: str) -> None:
        self._dirty.add(name)
        if name not in self._tasks:
            self._tasks[name] = asyncio.get_running_loop().create_task(self._work(name))

    # ---- the way there

    async def _work(self, name: str) -> None:
        failures = 0
        try:
            while name in self._dirty:
                self._dirty.discard(name)
                try:
                    await self._step(name)
                    failures = 0
                except Exception as error:  # noqa: BLE001  # whatever a runtime fails with
                    failures += 1
                    self._dirty.add(name)
                    await self._failed(name, error, failures)
        finally:
            del self._tasks[name]

    async def _failed(self, name: str, error: Exception, failures: int) -> None:
        told, live = self._told.get(name), self._wanted.get(name)
        _log.warning("the runtime refused", extra={"gang": name}, exc_info=error)
        began = told is not None and told.begun
        lost = isinstance(error, GangNotFoundError | ValueError)
        if live is not None and (lost or (not began and failures >= MOST_START_FAILURES)):
            self._dirty.discard(name)
            self._steward.start_failed(name, f"the runtime cannot run it: {error}")
            return
        await asyncio.sleep(min(_FIRST_PAUSE_S * 2**failures, _LONGEST_PAUSE_S))

    async def _step(self, name: str) -> None:
        live = self._wanted.get(name)
        told = self._told.get(name)
        if live is None:
            if told is not None:
                await self._clear(name)
        elif told is None:
            await self._start(live)
        else:
            await self._adjust(live, told)

    async def _start(self, live: LiveGang) -> None:
        if live.stop is not None:
            self._steward.never_began(live.name)
            return
        gang = self._steward.gang_of(live)
        if gang is None:
            return
        async with self._starts:
            # From here on the runtime may know it, even if the call fails.
            told = self._told[live.name] = _Told()
            await self._runtime.start(gang, start_placement(live))
        told.begun = True
        told.sizes = {role: _indices(live, role) for role in live.elastic}
        self._dirty.add(live.name)

    async def _adjust(self, live: LiveGang, told: _Told) -> None:
        if not told.begun:
            await self._start_again(live, told)
        if live.stop is not None and not told.stopped:
            await self._runtime.stop(live.name, live.stop.grace_s, live.stop.outcome.reason)
            told.stopped = True
        # Of a gang that ends, too: a replica that nobody told of would never be reported as ended.
        for role in live.elastic:
            wanted = _indices(live, role)
            if told.sizes.get(role) != wanted:
                await self._runtime.resize(live.name, role, live.staying(role))
                told.sizes[role] = wanted

    async def _start_again(self, live: LiveGang, told: _Told) -> None:
        """Repeat a start whose outcome is not known; a stop meanwhile holds against it."""
        gang = self._steward.gang_of(live)
        if gang is not None:
            async with self._starts:
                await self._runtime.start(gang, start_placement(live))
            told.begun = True

    async def _clear(self, name: str) -> None:
        """Let a gang that nobody wants end, keep its logs, and have it forgotten."""
        try:
            await self._archive.take(self._runtime, name)
            await self._runtime.forget(name)
        except GangActiveError:
            # Its last report leads here again.
            await self._runtime.stop(name, STRAY_GRACE_S, "this attempt is not wanted any more")
            return
        except GangNotFoundError:
            _log.debug("nothing to forget", extra={"gang": name})
        self._archive.forgotten(name)
        self._told.pop(name, None)


def _indices(live: LiveGang, role: str) -> frozenset[int]:
    return frozenset(each.index for each in live.staying(role))
