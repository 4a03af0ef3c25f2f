"""Shared memory for payloads that need not be durable: who may use it, and when it is given back.

A segment is a file in a folder of tmpfs that only this user may enter. Its name is given by its
writer, once; it is there as long as somebody holds it (see `Objects`), or has it open. What is let
go of lies in `free/` for a while, under the number of its inode: its writer may use its memory
again. A stop or a crash of the platform leaves what is held; a start of the machine leaves nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import math
import os
import secrets
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gridloom.segments import FREE, MARK, PREFIX, USED, is_name, open_segment
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from gridloom_services.objects.store.base import Reader

WARM_S = 10.0
"""So long what was let go of waits for its writer."""
WARM_BYTES = 1 << 30
"""More than this never waits."""
ABANDONED_S = 60.0
"""What nobody has held or had open for this long is given back."""

_HOME = "home"

_log = logging.getLogger(__name__)


def memory_folder(root: Path, home: Path) -> Path:
    """Where the segments of the platform are whose objects are in `home`."""
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return root / f"gridloom-{os.getuid()}-{name}"


def memory_folders(root: Path) -> Iterator[tuple[Path, Path]]:
    """Those of this user's platforms, each with the home of the objects that it belongs to."""
    for folder in sorted(root.glob(f"gridloom-{os.getuid()}-*")):
        with suppress(OSError):
            yield folder, Path(os.fsdecode((folder / _HOME).read_bytes()))


def is_segment(name: str) -> bool:
    """Whether this is a segment's name, not an object's digest."""
    return name.startswith(PREFIX) and is_name(name.removeprefix(PREFIX))


@dataclass(frozen=True, slots=True)
class Memory:
    """Where processes of this machine and user leave segments, and how much must stay free."""

    path: Path
    mark: bytes
    reserve_bytes: int


class Segments(Protocol):
    """Segments by name ("shm:" and 32 hexadecimal digits). All methods block."""

    def resume(self) -> None:
        """Take up what was there before a start of the platform."""
        ...

    def memory(self) -> Memory | None:
        """Make it ready, and tell where it is; None where there is none."""
        ...

    def size(self, name: str) -> int | None:
        """How many bytes; None where there is no such segment."""
        ...

    def reader(self, name: str) -> tuple[Reader, int] | None:
        """Open one, and its size; None where there is no such segment."""
        ...

    def retire(self, names: Iterable[str]) -> None:
        """Nobody holds these any more."""
        ...

    def is_open(self) -> bool:
        """Whether there may be anything to tidy."""
        ...

    def names(self) -> list[str]:
        """All that are in use, or were left behind."""
        ...

    def tidy(self, held: Collection[str]) -> int:
        """Give back what nobody needs; how many. `held` are the names that are held."""
        ...

    def close(self, held: Collection[str]) -> None:
        """Leave nothing but what is held or in use."""
        ...


class NoSharedMemory:
    """Where there is none: every payload is an object."""

    def resume(self) -> None:
        """There was nothing."""

    def memory(self) -> Memory | None:
        """None."""
        return None

    def size(self, name: str) -> int | None:
        """None of them is here."""
        del name
        return None

    def reader(self, name: str) -> tuple[Reader, int] | None:
        """As above."""
        del name
        return None

    def retire(self, names: Iterable[str]) -> None:
        """They were gone before."""

    def is_open(self) -> bool:
        """Never."""
        return False

    def names(self) -> list[str]:
        """None."""
        return []

    def tidy(self, held: Collection[str]) -> int:
        """Nothing to do."""
        del held
        return 0

    def close(self, held: Collection[str]) -> None:
        """As above."""
        del held


class SharedMemory:
    """Files below a folder of tmpfs, made when somebody first asks for them."""

    def __init__(
        self,
        root: Path,
        home: Path,
        share: float,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`home` is the platform's: it names the folder. `share` of the memory may be used."""
        self._root = root
        self._home = home
        self._folder = memory_folder(root, home)
        self._share = share
        self._clock = clock
        self.wall_clock = wall_clock
        """That of the file system."""
        self._is_open = False
        # Since when nobody was seen to need a segment.
        self._unneeded: dict[str, float] = {}

    def resume(self) -> None:
        """Only where the folder is there already."""
        if self._folder.is_dir():
            self.memory()

    def memory(self) -> Memory | None:
        """A folder that somebody else has put there is not used."""
        try:
            self._make()
            mark = (self._folder / MARK).read_bytes()
            found = os.statvfs(self._folder)
        except OSError as error:
            _log.warning("there is no shared memory for payloads: %s", error)
            return None
        self._is_open = True
        whole = min(found.f_blocks * found.f_frsize, _physical_bytes())
        reserve = found.f_blocks * found.f_frsize - int(whole * self._share)
        return Memory(self._folder, mark, reserve)

    def _make(self) -> None:
        with suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
            self._remove_orphans()
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(f"{self._folder} is not a folder of this user alone")
        for name in (USED, FREE):
            (self._folder / name).mkdir(mode=0o700, exist_ok=True)
        (self._folder / _HOME).write_bytes(os.fsencode(self._home))
        if not (self._folder / MARK).exists():
            draft = self._folder / f"{MARK}.{secrets.token_hex(8)}"
            draft.touch(mode=0o600)
            draft.write_bytes(secrets.token_bytes(32))
            draft.rename(self._folder / MARK)

    def _remove_orphans(self) -> None:
        """Folders of this user's platforms whose homes were removed."""
        for folder, home in memory_folders(self._root):
            if not home.is_dir():
                shutil.rmtree(folder, ignore_errors=True)

    def size(self, name: str) -> int | None:
        """As the file system has it."""
        try:
            return self._path(name).stat(follow_symlinks=False).st_size
        except OSError:
            return None

    def reader(self, name: str) -> tuple[Reader, int] | None:
        """It stays as it is while it is open."""
        number = open_segment(self._folder, name.removeprefix(PREFIX))
        if number is None:
            return None
        return SegmentReader(number), os.fstat(number).st_size

    def retire(self, names: Iterable[str]) -> None:
        """To `free`; a name that leads to what has others too is just removed."""
        room = WARM_BYTES - sum(size for size, _ in self._free())
        for name in names:
            path = self._path(name)
            with suppress(OSError):
                found = path.stat(follow_symlinks=False)
                room -= found.st_size
                if found.st_nlink > 1 or room < 0:
                    path.unlink()
                else:
                    path.rename(self._folder / FREE / str(found.st_ino))

    def is_open(self) -> bool:
        """Whether anybody has asked for it."""
        return self._is_open

    def tidy(self, held: Collection[str]) -> int:
        """What lies in `free` for long; what was abandoned for long."""
        before = self.wall_clock() - WARM_S
        count = sum(_removed(path) for _, path in self._free() if _changed_at(path) < before)
        now = self._clock()
        self._unneeded = {name: self._unneeded.get(name, now) for name in self.unneeded(held)}
        for name, since in list(self._unneeded.items()):
            if now - since >= ABANDONED_S:
                del self._unneeded[name]
                count += _removed(self._path(name))
        return count

    def names(self) -> list[str]:
        """By listing the folder."""
        try:
            return [PREFIX + path.name for path in (self._folder / USED).iterdir()]
        except OSError:
            return []

    def unneeded(self, held: Collection[str]) -> list[str]:
        """Neither held nor open anywhere, now."""
        there = self.names()
        return [name for name in there if name not in held and not self._is_in_use(name)]

    def _is_in_use(self, name: str) -> bool:
        """Somebody has it open."""
        try:
            number = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(number)
        return False

    def close(self, held: Collection[str]) -> None:
        """Without the folder, where nothing is in it that anybody may want."""
        if not self._is_open:
            return
        self._is_open = False
        waiting = [path for _, path in self._free()]
        for path in waiting + [self._path(name) for name in self.unneeded(held)]:
            _removed(path)
        with suppress(OSError):
            (self._folder / USED).rmdir()
            shutil.rmtree(self._folder)

    def _free(self) -> list[tuple[int, Path]]:
        """What waits for its writer, with sizes."""
        found = []
        with suppress(OSError):
            for path in (self._folder / FREE).iterdir():
                with suppress(OSError):
                    found.append((path.stat().st_size, path))
        return found

    def _path(self, name: str) -> Path:
        return self._folder / USED / name.removeprefix(PREFIX)


class SegmentReader:
    """Reads an open segment by position."""

    def __init__(self, number: int) -> None:
        self._number = number

    def read(self, offset: int, length: int) -> bytes:
        """One `pread`."""
        return os.pread(self._number, length, offset)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._number)


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _changed_at(path: Path) -> float:
    """When it came here: a new name changes an inode."""
    try:
        return path.stat().st_ctime
    except OSError:  # its writer has taken it again
        return math.inf


def _physical_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
