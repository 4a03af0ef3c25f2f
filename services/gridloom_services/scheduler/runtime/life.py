"""The life of one local unit: from its input files to its stored outputs.

Every step is decided by what the files say, and may be repeated: so a life that another process
began is carried on in the same way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gridloom.values import dataclass
from gridloom.worker.supervision import handover
from gridloom.worker.supervision.handover import End
from gridloom.worker.supervision.processes import identity, is_alive
from gridloom.worker.supervision.records import take_lock, write_record, write_whole

from gridloom_services.scheduler.runtime.alarms import ProcessHandle
from gridloom_services.scheduler.runtime.folders import Stored
from gridloom_services.scheduler.runtime.launcher import LauncherError
from gridloom_services.scheduler.runtime.report import final_statuses, live_statuses
from gridloom_services.scheduler.runtime.staging import StagingError
from gridloom_services.scheduler.runtime.strays import end_strays
from gridloom_services.scheduler.runtime.units import Limits, unit_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from gridloom.worker.supervision.handover import Identity, Stop

    from gridloom_services.scheduler.runtime.base import Gang
    from gridloom_services.scheduler.runtime.board import StatusBoard
    from gridloom_services.scheduler.runtime.folders import GangFolder, UnitFolder
    from gridloom_services.scheduler.runtime.launcher import Launcher
    from gridloom_services.scheduler.runtime.staging import Staging
    from gridloom_services.scheduler.runtime.units import Unit

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_LAUNCHES = 3
_LAUNCH_PAUSE_S = 0.2
_LOCKED_PAUSE_S = 0.02
_DISK_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the lives of all units share."""

    board: StatusBoard
    launcher: Launcher
    staging: Staging
    limits: Limits
    threads: Executor
    # At most so many are brought to their start at once.
    starting: asyncio.Semaphore


class UnitLife:
    """One unit of one gang. `run` is its whole life; the rest tells it what is wanted."""

    def __init__(self, shop: Workshop, gang: Gang, folder: GangFolder, unit: Unit) -> None:
        self.unit = unit
        self.files: UnitFolder = folder.unit(unit.name)
        self.over = asyncio.Event()
        self._shop = shop
        self._gang = gang
        self._gang_folder = folder
        self._news = asyncio.Event()
        self._process: ProcessHandle | None = None
        self._is_listening = False
        self._poke_due = False
        self._ask_due = False
        self._began_in_this_boot = True
        self._launches = 0

    @property
    def has_ended(self) -> bool:
        """Its process is over, though its outputs may not be stored yet."""
        return self.over.is_set() or self.files.end() is not None

    def adopt(self, *, same_boot: bool) -> None:
        """Show how it is; for a life that began before this process did."""
        self._began_in_this_boot = same_boot
        end = self.files.end()
        stored = self.files.stored() if end and end.outputs else Stored()
        if end is not None and stored is not None:
            self._finish(end, stored)
            return
        # Somebody may have died between a request and telling of it.
        self._ask_due = True
        self._show()

    def ring(self) -> None:
        """Its supervisor has said something."""
        self._news.set()

    def poke(self) -> None:
        """Files that its supervisor reads have changed."""
        self._poke_due = True
        self._poke_if_listening()

    def _poke_if_listening(self) -> None:
        if self._poke_due and self._is_listening and self._process is not None:
            self._process.poke()
            self._poke_due = False

    def change(self, unit: Unit) -> None:
        """Take over which replicas are wanted. Writes files: OSError, and nothing is changed."""
        if unit == self.unit or self.has_ended:
            return
        self._ask_for(unit)
        self.unit = unit
        self._show()

    def _ask_for(self, unit: Unit) -> None:
        if not self.files.path.exists():
            # It is about to be written, from what was wanted before or from this.
            self._ask_due = True
            return
        if unit.colocated:
            self._write_replicas(unit)
        if not unit.wanted and self.files.stop() is None:
            kill_at = time.time() + self._shop.limits.grace_s
            self.files.write_stop(handover.Stop("taken away by a resize", kill_at))
        self.poke()

    async def run(self) -> None:
        """Bring it to its end, from wherever it is."""
        if self.over.is_set():
            return
        self._show()
        try:
            end = await self._reach_end()
        finally:
            self._drop_process()
        self._finish(end, await self._store(end))

    async def _reach_end(self) -> End:
        while (end := self.files.end()) is None:
            try:
                await self._advance()
            except OSError as error:
                _log.warning("%s has to wait: %s", self.files.path, error)
                await asyncio.sleep(_DISK_PAUSE_S)
        return end

    async def _advance(self) -> None:
        supervisor = self.files.supervisor()
        if supervisor is not None and is_alive(supervisor):
            await self._follow(supervisor)
        elif supervisor is None and self._began_in_this_boot and self._launches < _LAUNCHES:
            self._launches += 1
            await self._begin()
        else:
            await self._give_up(supervisor)

    async def _begin(self) -> None:
        """Launch the supervisor, once everything is in place, and see it claim its folder."""
        async with self._shop.starting:
            pid = await self._launch()
        process = None if pid is None else identity(pid)
        if process is not None:
            await self._follow(process)

    async def _launch(self) -> int | None:
        if stop := self._stop():
            await self._seal(_never_ran(stop.reason, handover.CANCELLED))
            return None
        try:
            await self._stage()
            return await self._in_thread(self._shop.launcher.launch, self.files.path)
        except StagingError as error:
            await self._seal(_never_ran(error.reason, error.failure_class))
        except LauncherError as error:
            _log.warning("%s cannot be launched: %s", self.files.path, error)
            await asyncio.sleep(_LAUNCH_PAUSE_S)
        return None

    async def _stage(self) -> None:
        role = self._gang.role(self.unit.role)
        await self._in_thread(self._write_spec)
        own = self.files.path / handover.WORK
        workdir = Path(role.workdir) if role.workdir else own
        await self._shop.staging.bring(role.files, workdir, own)
        if role.stdin is not None:
            stdin = replace(role.stdin, path=handover.STDIN, mode=0o400)
            await self._shop.staging.bring([stdin], self.files.path, own)

    def _write_spec(self) -> None:
        self.files.path.mkdir(mode=0o700, exist_ok=True)
        marker = secrets.token_hex(16)
        spec = unit_spec(self._gang, self.unit, self.files.path, marker, self._shop.limits)
        self.files.write_spec(spec)
        if self.unit.colocated:
            self._write_replicas(self.unit)

    def _write_replicas(self, unit: Unit) -> None:
        line = " ".join(map(str, unit.wanted)) + "\n"
        write_whole(self.files.path / handover.REPLICAS, line.encode(), durable=False)

    def _stop(self) -> Stop | None:
        return self._gang_folder.stop() or self.files.stop()

    async def _follow(self, supervisor: Identity) -> None:
        """Show what the supervisor tells until it has written the end, or is gone."""
        self._process = ProcessHandle.open(supervisor, self._news)
        try:
            if self._ask_due:
                self._ask_for(self.unit)
                self._ask_due = False
            while self._process is not None and not self._process.over:
                self._news.clear()
                if self.files.end() is not None:
                    return
                self._show()
                await self._news.wait()
        finally:
            self._drop_process()

    def _drop_process(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process, self._is_listening = None, False

    async def _give_up(self, supervisor: Identity | None) -> None:
        """Nobody will bring this to an end any more: end what is left, and write that down."""
        state = self.files.state()
        if supervisor is None:
            reason = self.files.errors() or "its supervisor could not be launched"
        else:
            reason = "its supervisor died"
            await self._end_strays(state.child if state else None)
        if not self._began_in_this_boot:
            reason = "the machine was restarted"
        end = _never_ran(reason, handover.NODE_LOST)
        if state is not None:
            end = end._replace(started_at=state.started_at, ended=state.ended)
        await self._seal(end)

    async def _end_strays(self, command: int | None) -> None:
        spec = self.files.spec()
        if spec is None or not self._began_in_this_boot:
            return
        while not await self._in_thread(end_strays, spec.marker, command):
            _log.warning("%s has left processes that do not end", self.files.path)

    async def _seal(self, end: End) -> None:
        """Write the end in the supervisor's place, unless one lives and will do so."""
        if not await self._in_thread(self._try_seal, end):
            await asyncio.sleep(_LOCKED_PAUSE_S)

    def _try_seal(self, end: End) -> bool:
        self.files.path.mkdir(mode=0o700, exist_ok=True)
        lock = take_lock(self.files.path / handover.LOCK)
        if lock is None:
            return False
        try:
            if self.files.end() is None:
                write_record(self.files.path / handover.END, end._asdict(), durable=True)
        finally:
            os.close(lock)
        return True

    async def _in_thread(self, work: Callable[..., _T], *arguments: object) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._shop.threads, work, *arguments)

    async def _store(self, end: End) -> Stored:
        if not end.outputs:
            return Stored()
        stored = self.files.stored()
        if stored is None:
            self._show()
            folder = self.files.path / handover.OUTPUTS
            stored = await self._shop.staging.keep(end.outputs, folder, self._gang.job_id)
            await self._in_thread(self.files.write_stored, stored)
        return stored

    def _show(self) -> None:
        state = self.files.state()
        if state is not None and self._process is not None:
            self._is_listening = True
            self._poke_if_listening()
        for status in live_statuses(self._gang.name, self.unit, state):
            self._shop.board.post(status)

    def _finish(self, end: End, stored: Stored) -> None:
        for status in final_statuses(self._gang.name, self.unit, end, stored):
            self._shop.board.post(status)
        self.over.set()


def _never_ran(reason: str, failure_class: str) -> End:
    """Return the end of a command that nobody started (or nobody knows how it ended)."""
    cannot_start = failure_class == handover.APPLICATION_ERROR
    return End(
        exit_code=handover.EXIT_NOT_STARTED if cannot_start else None,
        signal=0,
        failure_class=failure_class,
        reason=reason,
        started_at=None,
        ended_at=time.time(),
    )
