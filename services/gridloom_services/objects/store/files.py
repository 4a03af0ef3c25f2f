"""Contents as files: `content/ab/abcd...` below a folder, drafts beside them in `drafts/`."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
import uuid
from typing import TYPE_CHECKING

from gridloom.pages import write_back

from gridloom_services.objects.store.base import LocalFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gridloom.object_parts import Chunk

PREFIX = "sha256:"

_DRAFT = re.compile(r"[0-9a-f]{32}")
_BEGUN_AT_ONCE = 8 << 20
_ABANDONED_S = 24 * 3600.0


class LocalFiles:
    """The store of one folder on a local disk."""

    def __init__(self, folder: Path) -> None:
        self._content = folder / "content"
        self._drafts = folder / "drafts"
        # Folders whose entry in `content` is on disk.
        self._fans: set[str] = set()
        self._mark = secrets.token_bytes(32)

    def open(self) -> None:
        """Make the folders; remove what is left in `drafts`."""
        for folder in (self._content, self._drafts):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(self._content.parent)
        for path in self._drafts.iterdir():
            path.unlink()
        mark = self._content.parent / "mark"
        mark.unlink(missing_ok=True)
        mark.touch(mode=0o600)
        mark.write_bytes(self._mark)
        self._fans = {path.name for path in self._content.iterdir()}

    def draft(self) -> DraftFile:
        """A new file in `drafts`."""
        return DraftFile(self, self._drafts / uuid.uuid4().hex)

    def local(self) -> LocalFolder | None:
        """All of it: whoever may enter the folder is this user."""
        return LocalFolder(self._content.parent, self._mark)

    def left(self, name: str, size_bytes: int) -> DraftFile:
        """Take over a file that another process has written."""
        if not _DRAFT.fullmatch(name):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        draft = DraftFile(self, self._drafts / name, os.O_RDWR | os.O_NOFOLLOW)
        found = os.fstat(draft.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size != size_bytes:
            draft.close()
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return draft

    def tidy(self) -> None:
        """By the time of the last write."""
        before = time.time() - _ABANDONED_S
        for path in self._drafts.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()

    def place(self, draft: Path, digest: str) -> None:
        """Move a synced file to where its digest says, durably."""
        path = self._path(digest)
        if path.parent.name not in self._fans:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._content)
            self._fans.add(path.parent.name)
        draft.replace(path)
        sync_folder(path.parent)

    def size(self, digest: str) -> int | None:
        """As the file system has it."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def reader(self, digest: str) -> FileReader:
        """An open descriptor."""
        return FileReader(self._path(digest))

    def remove(self, digest: str) -> None:
        """Unlink the file. Not synced: if it comes back after a power failure, it is litter."""
        self._path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """By listing the folders."""
        for fan in sorted(self._content.iterdir()):
            for path in fan.iterdir():
                yield PREFIX + path.name

    def free_bytes(self) -> int | None:
        """What the file system leaves to us."""
        return shutil.disk_usage(self._content).free

    def _path(self, digest: str) -> Path:
        name = digest.removeprefix(PREFIX)
        return self._content / name[:2] / name


class DraftFile:
    """A file that grows in `drafts`."""

    def __init__(
        self, store: LocalFiles, path: Path, flags: int = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    ) -> None:
        self._store = store
        self._path = path
        self._descriptor = os.open(path, flags, 0o600)
        self._is_open = True
        # How much was written, and of how much the disk was told.
        self._written = self._begun = 0

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def write(self, data: Chunk) -> None:
        """To the page cache; the disk has it after `commit`."""
        view = memoryview(data)
        while view:
            size = os.write(self._descriptor, view)
            self._written += size
            view = view[size:]
        if self._written - self._begun >= _BEGUN_AT_ONCE:
            write_back(self._descriptor, self._begun, self._written - self._begun)
            self._begun = self._written

    def commit(self, digest: str) -> None:
        """File first, then its name: a crash leaves the whole content or a draft."""
        os.fsync(self._descriptor)
        self.close()
        self._store.place(self._path, digest)

    def discard(self) -> None:
        """Remove the file, if it was not moved to its place."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file, and leave it."""
        if self._is_open:
            self._is_open = False
            os.close(self._descriptor)


class FileReader:
    """Reads by position, so that a reader has no state."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, offset: int, length: int) -> bytes:
        """One `pread`; regular files give what they have."""
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
