"""Contents in any store that fsspec knows: "s3://bucket/prefix", "gs://...", "file:///...".

A draft is a local file that is sent as a whole when it is committed; how durable it is then, is the
store's promise. A half-sent content has no row, so nobody sees it and the next scan removes it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom_services.common.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "sha256:"


class FsspecContents:
    """Contents as `PREFIX/ab/abcd...`; drafts in a local folder."""

    def __init__(self, url: str, drafts: Path) -> None:
        """StartError if fsspec does not know the protocol, or its package is not installed."""
        import fsspec

        try:
            self._filesystem, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise StartError(
                f"the store of objects {url} cannot be used: {error}", field="store_url", given=url
            ) from error
        self._drafts = drafts

    def open(self) -> None:
        """Make the folders; remove what is left of drafts."""
        self._drafts.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._drafts.iterdir():
            path.unlink()
        self._filesystem.makedirs(self._root, exist_ok=True)

    def draft(self) -> StagedDraft:
        """A local file."""
        return StagedDraft(self, self._drafts)

    def send(self, path: Path, digest: str) -> None:
        """Store a local file as a content."""
        key = self._key(digest)
        self._filesystem.makedirs(key.rpartition("/")[0], exist_ok=True)
        self._filesystem.put_file(str(path), key)

    def size(self, digest: str) -> int | None:
        """As the store has it now, not as a listing had it."""
        try:
            return int(self._filesystem.info(self._key(digest), refresh=True)["size"])
        except FileNotFoundError:
            return None

    def reader(self, digest: str) -> RemoteReader:
        """Reads ranges."""
        if self.size(digest) is None:
            raise FileNotFoundError(digest)
        return RemoteReader(self._filesystem, self._key(digest))

    def remove(self, digest: str) -> None:
        """Delete the key."""
        try:
            self._filesystem.rm_file(self._key(digest))
        except FileNotFoundError:
            return

    def digests(self) -> Iterator[str]:
        """By listing everything below the prefix."""
        self._filesystem.invalidate_cache()
        for key in self._filesystem.find(self._root):
            yield PREFIX + key.rpartition("/")[2]

    def free_bytes(self) -> int | None:
        """Such stores do not say."""
        return None

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

    def write(self, data: bytes) -> None:
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
    """A file of fsspec that is closed between reads: ranges are asked for as they are needed."""

    def __init__(self, filesystem: Any, key: str) -> None:
        self._filesystem = filesystem
        self._key = key

    def read(self, offset: int, length: int) -> bytes:
        """One range."""
        return bytes(self._filesystem.cat_file(self._key, start=offset, end=offset + length))

    def close(self) -> None:
        """Nothing is open between reads."""
