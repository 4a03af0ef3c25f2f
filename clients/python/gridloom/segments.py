"""Payloads that need not be durable: files in shared memory, written once and mapped by readers.

A segment is a file in `used/` with a name that is given once. Whoever writes or reads one holds a
shared lock on it as long as it is mapped, which the kernel takes back when the process dies. A
payload that is handed on unchanged gets another name (a hard link), never a copy. What was let go
of is moved to `free/` by the platform: its writer, which has it mapped still, takes it from there
for its next payload, if nobody reads it any more; memory that was touched before is the faster one.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import re
import secrets
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from gridloom.pages import address_of, are_unchanged, private_mapping
from gridloom.payload import SHARED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gridloom.api.objects.v1.objects_pb2 import SharedMemory

PREFIX = SHARED
USED, FREE, MARK = "used", "free", "mark"

# A process maps that many at once and keeps the descriptors: what more it writes, it lets go of at
# once; what more it reads is never used again for something else.
MOST_OPEN = 200

_NAME = re.compile(r"[0-9a-f]{32}")
_ALIGNED = 64
_ROUNDED = 1 << 20
# Below some 20 MiB a copy reads its target too, and is slower by a third.
_COPIED_AT_ONCE = 32 << 20
_LOOK_S = 5.0
# After that the platform knows who needs a segment, or nobody does.
_TOLD_S = 300.0

_log = logging.getLogger("gridloom.segments")


class Place(NamedTuple):
    """Where a part of a payload lies."""

    name: str
    offset: int


def is_name(text: str) -> bool:
    """Whether this could be a segment's name: nothing else is ever made a path."""
    return _NAME.fullmatch(text) is not None


def open_segment(folder: Path, name: str) -> int | None:
    """A descriptor that keeps the segment from being used again; None where it is gone."""
    if not is_name(name):
        return None
    path = folder / USED / name
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # Who locks it alone does so for a moment.
        fcntl.flock(number, fcntl.LOCK_SH)
        # Between opening and locking it may have become another payload's.
        if path.stat(follow_symlinks=False).st_ino == os.fstat(number).st_ino:
            return number
    except OSError:
        pass
    os.close(number)
    return None


class SharedFolder:
    """The platform's shared memory, as one process sees it. Safe to use from any thread."""

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._lock = threading.Lock()
        self._own: list[_Own] = []
        self._is_looking = False
        # By address: what is mapped for somebody to read.
        self._mapped: dict[int, _Reading] = {}

    @classmethod
    def found(cls, told: SharedMemory) -> Self | None:
        """The memory that the platform has told of; None where this process does not find it."""
        folder = Path(told.folder)
        with suppress(OSError):
            if told.mark and (folder / MARK).read_bytes() == told.mark:
                return cls(folder, told.reserve_bytes)
        return None

    # ---- in

    def write(self, parts: Sequence[memoryview]) -> list[Place] | None:
        """Where these bytes lie now; None where there is no room for them. OSError: no folder."""
        places = [self._linked(part) for part in parts]
        news = [part for part, place in zip(parts, places, strict=True) if place is None]
        if not news:
            return [place for place in places if place is not None]
        written = self._written(news)
        if written is None:
            for place in places:
                if place is not None:
                    self.forget(place.name)
            return None
        rest = iter(written)
        return [place or next(rest) for place in places]

    def forget(self, name: str) -> None:
        """Let go of a segment that nobody else was told of."""
        if not is_name(name):
            return
        path = self._folder / USED / name
        with suppress(OSError):
            found = path.stat(follow_symlinks=False)
            if found.st_nlink > 1:
                path.unlink()
            else:
                path.rename(self._folder / FREE / str(found.st_ino))

    def _linked(self, part: memoryview) -> Place | None:
        """Another name for bytes that lie in a segment already and were not changed since."""
        if part.readonly:
            return None
        address = address_of(part)
        for start, reading in list(self._mapped.items()):
            if start <= address and address + part.nbytes <= start + reading.size_bytes:
                if reading.number < 0 or not are_unchanged(address, part.nbytes):
                    return None
                return self._link(reading.number, address - start)
        return None

    def _link(self, number: int, offset: int) -> Place | None:
        name = secrets.token_hex(16)
        try:
            target = os.open(self._folder / USED, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # With a folder's descriptor the system call follows the link to the open file.
            os.link(f"/proc/self/fd/{number}", name, dst_dir_fd=target, follow_symlinks=True)
        except OSError:  # it was given up meanwhile
            return None
        finally:
            os.close(target)
        return Place(name, offset)

    def _written(self, parts: Sequence[memoryview]) -> list[Place] | None:
        offsets, total = _layout(parts)
        own = self._taken(total)
        if own is not None:
            for part, offset in zip(parts, offsets, strict=True):
                own.copy(part, offset)
        else:
            own = self._new(parts, offsets, total)
        if own is None:
            return None
        places = [Place(own.name, offset) for offset in offsets]
        self._keep(own)
        return places

    def _taken(self, total: int) -> _Own | None:
        """A segment of this process's that nobody needs any more, under a new name."""
        with self._lock:
            fitting = [own for own in self._own if total <= own.size_bytes <= 2 * total + _ROUNDED]
            for own in sorted(fitting, key=lambda one: one.size_bytes):
                if own.take_again(self._folder):
                    self._own.remove(own)
                    return own
        return None

    def _new(self, parts: Sequence[memoryview], offsets: Sequence[int], total: int) -> _Own | None:
        found = os.statvfs(self._folder)
        if found.f_bavail * found.f_frsize < total + self._reserve_bytes:
            _log.info("no room for %s bytes in %s: they go to disk", total, self._folder)
            return None
        name = secrets.token_hex(16)
        path = self._folder / USED / name
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        number = os.open(path, flags, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_SH)
            for part, offset in zip(parts, offsets, strict=True):
                _write_at(number, part, offset)
            size = -(-total // _ROUNDED) * _ROUNDED
            os.posix_fallocate(number, 0, size)
        except OSError:  # full after all
            os.close(number)
            path.unlink(missing_ok=True)
            return None
        return _Own(name, number, size)

    def _keep(self, own: _Own) -> None:
        """Have it at hand when the platform lets go of it, and give it up when it lies idle."""
        with self._lock:
            if len(self._own) >= MOST_OPEN:
                own.close()
                return
            self._own.append(own)
            if not self._is_looking:
                self._is_looking = True
                thread = threading.Thread(target=self._look, name="gridloom-segments", daemon=True)
                thread.start()

    def _look(self) -> None:
        """Give back the memory of segments that the platform has removed."""
        pause = threading.Event()
        while not pause.wait(_LOOK_S):
            with self._lock:
                for own in list(self._own):
                    if own.is_removed:
                        self._own.remove(own)
                        own.close()
                    elif time.monotonic() - own.written_at > _TOLD_S:
                        own.unlock()
                if not self._own:
                    self._is_looking = False
                    return

    # ---- out

    def read(self, name: str) -> memoryview | None:
        """A segment, for the caller to keep and change; None where it is gone.

        Nothing is copied: pages are read as they are looked at, and are the caller's own once they
        are changed. It stays as it is for as long as anything looks at it.
        """
        number = open_segment(self._folder, name)
        if number is None:
            return None
        size = os.fstat(number).st_size
        is_kept = len(self._mapped) < MOST_OPEN
        try:
            if not is_kept:
                _never_again(number)
            array, address, unmap = private_mapping(number, size)
        except OSError:
            os.close(number)
            return None
        if not is_kept:
            os.close(number)
            number = -1
        self._mapped[address] = _Reading(number, size)
        end = weakref.finalize(array, self._unmapped, address, unmap)
        # Somebody may still look at it while the interpreter ends.
        end.atexit = False
        return memoryview(array).cast("B")

    def _unmapped(self, address: int, unmap: Callable[[], object]) -> None:
        reading = self._mapped.pop(address)
        unmap()
        if reading.number >= 0:
            os.close(reading.number)


class _Reading(NamedTuple):
    """A segment that is mapped here; `number` -1: its descriptor was given back."""

    number: int
    size_bytes: int


class _Own:
    """A segment that this process has made, and can write again without touching new memory."""

    def __init__(self, name: str, number: int, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self._number = number
        self._inode = os.fstat(number).st_ino
        self._memory: mmap.mmap | None = None
        self.written_at = time.monotonic()

    @property
    def is_removed(self) -> bool:
        """No name leads to it."""
        return os.fstat(self._number).st_nlink == 0

    def take_again(self, folder: Path) -> bool:
        """Whether it was let go of and nobody reads it; then it has a new name."""
        name = secrets.token_hex(16)
        free = folder / FREE / str(self._inode)
        try:
            free.rename(folder / USED / name)
        except OSError:
            return False
        found = os.fstat(self._number)
        if found.st_nlink == 1 and found.st_mode & 0o200 and self._lock_alone():
            self.name = name
            self.written_at = time.monotonic()
            return True
        with suppress(OSError):
            (folder / USED / name).rename(free)
        return False

    def _lock_alone(self) -> bool:
        try:
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            alone = False
        else:
            alone = True
        # Nobody knows the new name yet, and whoever knew an old one looks for it in vain.
        with suppress(OSError):
            fcntl.flock(self._number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return alone

    def unlock(self) -> None:
        """Leave it to those who hold it."""
        fcntl.flock(self._number, fcntl.LOCK_UN)

    def copy(self, part: memoryview, offset: int) -> None:
        """Put these bytes there."""
        if self._memory is None:
            self._memory = mmap.mmap(self._number, self.size_bytes)
        with memoryview(self._memory) as memory:
            for start in range(0, part.nbytes, _COPIED_AT_ONCE):
                piece = part[start : start + _COPIED_AT_ONCE]
                memory[offset + start : offset + start + piece.nbytes] = piece

    def close(self) -> None:
        """Let go of it."""
        if self._memory is not None:
            self._memory.close()
        os.close(self._number)


def _layout(parts: Sequence[memoryview]) -> tuple[list[int], int]:
    """The offset of each part, and the size of the whole."""
    offsets, total = [], 0
    for part in parts:
        offsets.append(total)
        total += -(-part.nbytes // _ALIGNED) * _ALIGNED
    return offsets, total


def _write_at(number: int, part: memoryview, offset: int) -> None:
    done = 0
    while done < part.nbytes:
        done += os.pwrite(number, part[done : done + _COPIED_AT_ONCE], offset + done)


def _never_again(number: int) -> None:
    """Mark a segment that somebody reads without a lock: it is not to be written again."""
    os.fchmod(number, 0o400)
