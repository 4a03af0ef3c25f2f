"""Files into a unit's working folder before it starts, and its outputs into the store after."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gridloom.worker.supervision import handover

from gridloom_services.scheduler.runtime.base import OutputFile
from gridloom_services.scheduler.runtime.folders import Stored

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gridloom.worker.supervision.handover import CollectedFile

    from gridloom_services.scheduler.runtime.base import InputFile, ObjectsDoor

_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 15.0


class StagingError(Exception):
    """The unit cannot start; `failure_class` says whose fault that is."""

    def __init__(self, reason: str, failure_class: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.failure_class = failure_class


class Staging:
    """Moves files between units and the object store; patient with a store that is in trouble."""

    def __init__(self, objects: ObjectsDoor, patience_s: float) -> None:
        self._objects = objects
        self._patience_s = patience_s

    async def bring(self, files: Sequence[InputFile], workdir: Path, own: Path) -> None:
        """Put the input files below the working folder; doing it again replaces them.

        `own` is made if it is the working folder; any other must exist. Raises StagingError.
        """
        _check_folder(workdir, own)
        for file in files:
            await self._patiently_bring(file, _target(file, workdir))

    async def _patiently_bring(self, file: InputFile, target: Path) -> None:
        patience = _Patience(self._patience_s)
        while True:
            try:
                _clear(target)
                await self._objects.fetch(file.digest, target)
                _allow(target, file.mode)
            except LookupError as error:
                reason = f"the input file {file.path!r}: there is no object {file.digest}"
                raise StagingError(reason, handover.APPLICATION_ERROR) from error
            except OSError as error:
                if not await patience.pause():
                    reason = f"the input file {file.path!r}: {error}"
                    raise StagingError(reason, handover.NODE_LOST) from error
            else:
                return

    async def keep(self, files: Sequence[CollectedFile], folder: Path, holder: str) -> Stored:
        """Store a unit's outputs. Never raises: a failure is part of the answer."""
        kept: list[OutputFile] = []
        patience = _Patience(self._patience_s)
        while len(kept) < len(files):
            file = files[len(kept)]
            try:
                digest, size_bytes = await self._objects.store(folder / file.path, holder)
            except OSError as error:
                if not await patience.pause():
                    return Stored(tuple(kept), f"its output {file.path!r} is not stored: {error}")
            else:
                kept.append(OutputFile(file.path, digest, size_bytes, file.mode))
        return Stored(tuple(kept))


def _check_folder(workdir: Path, own: Path) -> None:
    if workdir == own:
        own.mkdir(mode=0o700, exist_ok=True)
    elif not workdir.is_dir():
        reason = f"the working folder {workdir} does not exist"
        raise StagingError(reason, handover.APPLICATION_ERROR)


def _target(file: InputFile, workdir: Path) -> Path:
    target = workdir / file.path
    if not target.resolve().is_relative_to(workdir.resolve()):
        reason = f"the input file {file.path!r} is not below the working folder"
        raise StagingError(reason, handover.APPLICATION_ERROR)
    return target


def _clear(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)


def _allow(target: Path, mode: int) -> None:
    target.chmod(mode)


class _Patience:
    """Waits longer each time, until it has waited enough."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._pause_s = _PAUSE_S

    async def pause(self) -> bool:
        """Wait; False: no more."""
        if self._left_s <= 0:
            return False
        await asyncio.sleep(min(self._pause_s, self._left_s))
        self._left_s -= self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        return True
