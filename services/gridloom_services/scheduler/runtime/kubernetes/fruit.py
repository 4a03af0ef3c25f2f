"""What sidecars have brought out: lists of outputs, and streams."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING

from gridloom.worker.supervision.handover import GAP_SUFFIX
from gridloom.worker.supervision.records import write_record

from gridloom_services.scheduler.runtime.kubernetes.endings import read_outputs

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom_services.scheduler.runtime.base import ObjectsDoor, OutputFile, StoredStream

_COPY_BYTES = 1 << 20


class Fruit:
    """Fetches from the object store, into one folder."""

    def __init__(self, objects: ObjectsDoor, folder: Path) -> None:
        self._objects = objects
        self._folder = folder

    async def outputs(self, digest: str) -> tuple[OutputFile, ...]:
        """Return a list of outputs that was too long to be told. OSError."""
        path = self._aside("list")
        try:
            await self._objects.fetch(digest, path)
            return read_outputs(json.loads(await asyncio.to_thread(path.read_bytes)))
        except LookupError as error:
            raise OSError(f"the list of outputs {digest} is gone") from error
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def stream(self, stored: StoredStream, target: Path) -> None:
        """Put a stream to `target` with its offsets as they were; again: nothing happens. OSError.

        One that the store has let go of makes no file.
        """
        if await asyncio.to_thread(target.exists):
            return
        path = self._aside(target.name)
        try:
            await self._objects.fetch(stored.digest, path)
            await asyncio.to_thread(_place, path, stored, target)
        except LookupError:
            return
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    def _aside(self, name: str) -> Path:
        return self._folder / f"{name}.{secrets.token_hex(8)}.part"


def _place(path: Path, stored: StoredStream, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not stored.end:
        path.replace(target)
        return
    # What is missing becomes a hole again, told of in the record beside it.
    gap = target.with_name(target.name + GAP_SUFFIX)
    write_record(gap, {"first": stored.first, "end": stored.end}, durable=False)
    whole = target.with_name(f"{target.name}.part")
    with path.open("rb") as source, whole.open("wb") as file:
        file.write(source.read(stored.first))
        file.seek(stored.end)
        while data := source.read(_COPY_BYTES):
            file.write(data)
    whole.replace(target)
