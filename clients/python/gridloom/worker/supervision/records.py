"""Small JSON files that one process writes and others read, whole or not at all.

A record replaces the one before in one step (write aside, rename), so that a reader never sees half
of it, whoever is killed when.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def write_record(path: Path, record: Record, *, durable: bool) -> None:
    """Replace the record at `path`; with `durable` it outlives a loss of power once this returns.

    Only its owner may read it. Raises OSError (a full disk, a missing folder); the old record is
    there then.
    """
    write_whole(path, json.dumps(record, separators=(",", ":")).encode(), durable=durable)


def write_whole(path: Path, data: bytes, *, durable: bool) -> None:
    """Replace a file by one with this content; promises as in `write_record`."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(descriptor, data)
        if durable:
            os.fsync(descriptor)
    except OSError:
        aside.unlink()
        raise
    finally:
        os.close(descriptor)
    aside.rename(path)
    if durable:
        sync_folder(path.parent)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_record(path: Path) -> Record | None:
    """Return the record at `path`; None where none is, or where a loss of power garbled it."""
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    _sync(path, os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make a file's content durable; its name is its folder's."""
    _sync(path, 0)


def sync_tree(path: Path) -> None:
    """Make everything in a folder durable, and below it."""
    for parent, _, names in os.walk(path):
        for name in names:
            sync_file(Path(parent, name))
        sync_folder(Path(parent))


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock until it is closed; None if another has it.

    The kernel lets go of it when the holder dies, however it dies. Commands that are started do not
    inherit it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
