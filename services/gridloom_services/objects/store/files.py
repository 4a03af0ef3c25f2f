"""Contents as files: `content/ab/abcd...` below a folder, drafts beside them in `drafts/`."""

from __future__ import annotations

import os
import shutil
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "sha256:"


class LocalFiles:
    """The store of one folder on a local disk."""

    def __init__(self, folder: Path) -> None:
        self._content = folder / "content"
        self._drafts = folder / "drafts"
        # Folders whose entry in `content` is on disk.
        self._fans: set[str] = set()

    def open(self) -> None:
        """Make the folders; remove what is left in `drafts`."""
        for folder in (self._content, self._drafts):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(self._content.parent)
        for path in self._drafts.iterdir():
            path.unlink()
        self._fans = {path.name for path in self._content.iterdir()}

    def draft(self) -> DraftFile:
        """A new file in `drafts`."""
        return DraftFile(self, self._drafts / uuid.uuid4().hex)

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

    def __init__(self, store: LocalFiles, path: Path) -> None:
        self._store = store
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._is_open = True

    def write(self, data: bytes) -> None:
        """To the page cache; the disk has it after `commit`."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def commit(self, digest: str) -> None:
        """File first, then its name: a crash leaves the whole content or a draft."""
        os.fsync(self._descriptor)
        self._close()
        self._store.place(self._path, digest)

    def discard(self) -> None:
        """Remove the file, if it was not moved to its place."""
        self._close()
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
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
