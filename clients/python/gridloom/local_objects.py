"""Objects whose contents are files that this process can reach: bytes need not pass the service.

The service still says what exists, makes a new content durable and gives it its name. A process on
another machine, or of another user, does not find the folder's mark and never gets here.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.api.objects.v1.objects_pb2 import LocalStore

# Smaller ones are as fast by the service.
LEAST_BYTES = 1024 * 1024
_WRITTEN_AT_ONCE = 8 * 1024 * 1024


class LocalFolder:
    """The folder of the service's contents, on this machine."""

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        # Contents that are mapped here, by address: how large they are, and their digests.
        self._mapped: dict[int, tuple[int, str]] = {}

    @classmethod
    def found(cls, told: LocalStore) -> Self | None:
        """The folder that the service has told of; None where this process does not find it."""
        folder = Path(told.folder)
        with suppress(OSError):
            if told.mark and (folder / "mark").read_bytes() == told.mark:
                return cls(folder, told.reserve_bytes)
        return None

    def read(self, digest: str) -> memoryview | None:
        """A content, for the caller to keep and change; None where it is not a file here.

        Nothing is copied: pages are read as they are looked at, and are the caller's own once
        they are changed. The file may be removed meanwhile; it is never written to.
        """
        name = digest.rpartition(":")[2]
        try:
            with (self._folder / "content" / name[:2] / name).open("rb", buffering=0) as file:
                return self._map(file.fileno(), os.fstat(file.fileno()).st_size, digest)
        except OSError:
            return None

    def _map(self, number: int, size: int, digest: str) -> memoryview | None:
        """The file as private memory; None where it is empty."""
        from gridloom.pages import private_mapping

        if not size:
            return None
        array, address, unmap = private_mapping(number, size)
        self._mapped[address] = (size, digest)
        # The view holds the array: the memory lasts as long as anybody looks at it.
        gone = weakref.finalize(array, self._unmap, address, unmap)
        # Somebody may still look at it while the interpreter ends.
        gone.atexit = False
        return memoryview(array).cast("B")

    def _unmap(self, address: int, unmap: Callable[[], object]) -> None:
        del self._mapped[address]
        unmap()

    def digest_of(self, data: memoryview) -> str | None:
        """The digest of bytes that were read here, are all of a content and were not changed.

        None where that is not so, or not known: what was read is handed on without a look at it.
        """
        if data.readonly or not self._mapped:
            return None
        from gridloom.pages import address_of, are_unchanged

        address = address_of(data)
        size, digest = self._mapped.get(address, (0, None))
        return digest if size == data.nbytes and are_unchanged(address, size) else None

    def draft(self, data: memoryview) -> LocalDraft | None:
        """Begin to write these bytes, which must not change before it is done.

        None where the disk has no room for them: the service refuses them in its own words.
        """
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return None
        if free < data.nbytes + self._reserve_bytes:
            return None
        return LocalDraft(self._folder / "drafts" / uuid.uuid4().hex, data)


class LocalDraft:
    """A file that a thread writes, while its owner does something else: a digest of the same."""

    def __init__(self, path: Path, data: memoryview) -> None:
        self.name = path.name
        self._path = path
        self._data = data
        self._error: OSError | None = None
        self._is_given_up = False
        self._thread = threading.Thread(target=self._work, name="gridloom-draft", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when it is on disk; OSError where that cannot be."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def discard(self) -> None:
        """Remove the file, if the service has not taken it."""
        self._is_given_up = True
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _work(self) -> None:
        try:
            self._write()
        except OSError as error:
            self._error = error

    def _write(self) -> None:
        from gridloom.pages import write_back

        number = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(number, 0, len(self._data))
            done = 0
            while done < len(self._data) and not self._is_given_up:
                size = os.write(number, self._data[done : done + _WRITTEN_AT_ONCE])
                write_back(number, done, size)
                done += size
            if not self._is_given_up:
                os.fdatasync(number)
        finally:
            os.close(number)
