"""Contents in any store that fsspec knows: "s3://bucket/prefix", "gs://...", "file:///...".

A draft is a local file that is sent as a whole when it is committed; how durable it is then, is the
store's promise. A half-sent content has no row, so nobody sees it and the next scan removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom_services.common.errors import StartError, StorageFullError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom.object_parts import Chunk

    from gridloom_services.objects.store.base import Draft, LocalFolder

PREFIX = "sha256:"
_FULL = {errno.ENOSPC, errno.EDQUOT}


class FsspecContents:
    """Contents as `PREFIX/ab/abcd...`; drafts in a local folder."""

    def __init__(self, url: str, drafts: Path) -> None:
        """StartError if fsspec does not know the protocol, or its package is not installed."""
        import fsspec

        # Keys may stand in it.
        self.url = re.sub(r"//[^/@]*@", "//***@", url)
        try:
            self._filesystem, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise StartError(
                f"the store of objects {self.url} cannot be used: {error}", field="store_url"
            ) from error
        self._drafts = drafts

    def open(self) -> None:
        """Make the folders; remove what is left of drafts. StartError where the store is away."""
        self._drafts.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._drafts.iterdir():
            path.unlink()
        try:
            with self.reached():
                self._filesystem.makedirs(self._root, exist_ok=True)
        except UnavailableError as error:
            raise StartError(error.message, field="store_url", given=self.url) from error

    def draft(self) -> StagedDraft:
        """A local file."""
        return StagedDraft(self, self._drafts)

    def send(self, path: Path, digest: str) -> None:
        """Store a local file as a content."""
        key = self._key(digest)
        with self.reached():
            self._filesystem.makedirs(key.rpartition("/")[0], exist_ok=True)
            self._filesystem.put_file(str(path), key)

    def local(self) -> LocalFolder | None:
        """Nobody else reaches what is staged here."""
        return None

    def left(self, name: str, size_bytes: int) -> Draft:
        """Nobody can leave one."""
        del size_bytes
        raise FileNotFoundError(name)

    def tidy(self) -> None:
        """There is nothing that could be left."""

    def size(self, digest: str) -> int | None:
        """As the store has it now, not as a listing had it."""
        try:
            with self.reached():
                return int(self._filesystem.info(self._key(digest), refresh=True)["size"])
        except FileNotFoundError:
            return None

    def reader(self, digest: str) -> RemoteReader:
        """Reads ranges."""
        size = self.size(digest)
        if size is None:
            raise FileNotFoundError(digest)
        return RemoteReader(self, self._key(digest), size)

    def read(self, key: str, start: int, end: int) -> bytes:
        """One range of a key."""
        with self.reached():
            return bytes(self._filesystem.cat_file(key, start=start, end=end))

    def remove(self, digest: str) -> None:
        """Delete the key."""
        try:
            with self.reached():
                self._filesystem.rm_file(self._key(digest))
        except FileNotFoundError:
            return

    def digests(self) -> Iterator[str]:
        """By listing everything below the prefix."""
        with self.reached():
            self._filesystem.invalidate_cache()
            keys = self._filesystem.find(self._root)
        for key in keys:
            yield PREFIX + key.rpartition("/")[2]

    def free_bytes(self) -> int | None:
        """Such stores do not say."""
        return None

    @contextlib.contextmanager
    def reached(self) -> Iterator[None]:
        """Within, a store that does not do what it is asked to is an UnavailableError.

        A content that is not there is a FileNotFoundError, and a full store a StorageFullError.
        """
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:  # each protocol has its own for "no route", "no right", ...
            words = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if getattr(error, "errno", None) in _FULL:
                raise StorageFullError(f"the store of objects {self.url} is full") from error
            raise UnavailableError(
                f"the store of objects {self.url} cannot be used now: {words}", retry_after_s=1
            ) from error

    def _key(self, digest: str) -> str:
        name = digest.removeprefix(PREFIX)
        return f"{self._root}/{name[:2]}/{name}"


class StagedDraft:
    """A local file until it is sent."""

    def __init__(self, store: FsspecContents, folder: Path) -> None:
        self._store = store
        descriptor, name = tempfile.mkstemp(dir=folder)
        self._path = Path(name)
        self._file = os.fdopen(descriptor, "wb")

    def write(self, data: Chunk) -> None:
        """To the local file."""
        self._file.write(data)

    def commit(self, digest: str) -> None:
        """Send it, then remove the local file."""
        self._file.close()
        self._store.send(self._path, digest)
        self.discard()

    def discard(self) -> None:
        """Remove the local file."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class RemoteReader:
    """A key that is closed between reads: ranges are asked for as they are needed."""

    def __init__(self, store: FsspecContents, key: str, size: int) -> None:
        self._store = store
        self._key = key
        self._size = size

    def read(self, offset: int, length: int) -> bytes:
        """One range. Of an empty one, stores would send everything."""
        end = min(offset + length, self._size)
        return self._store.read(self._key, offset, end) if offset < end else b""

    def close(self) -> None:
        """Nothing is open between reads."""
