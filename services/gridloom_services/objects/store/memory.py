"""The twin of the stores: contents in memory, gone with the process."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from gridloom_services.objects.inline import InlineReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom.object_parts import Chunk

    from gridloom_services.objects.store.base import Draft, LocalFolder


class MemoryContents:
    """Holds at most `capacity_bytes`, drafts included; more is a full disk."""

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self._contents: dict[str, bytes] = {}
        self._capacity = capacity_bytes
        self._in_drafts = 0

    def open(self) -> None:
        """Drafts of a process that died have died with it."""
        self._in_drafts = 0

    def draft(self) -> MemoryDraft:
        """An empty list of chunks."""
        return MemoryDraft(self)

    def local(self) -> LocalFolder | None:
        """Nobody else reaches this memory."""
        return None

    def left(self, name: str, size_bytes: int) -> Draft:
        """Nobody can leave one."""
        del size_bytes
        raise FileNotFoundError(name)

    def tidy(self) -> None:
        """There is nothing that could be left."""

    def size(self, digest: str) -> int | None:
        """Its length."""
        found = self._contents.get(digest)
        return None if found is None else len(found)

    def reader(self, digest: str) -> InlineReader:
        """Reads the bytes as they are now."""
        if digest not in self._contents:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), digest)
        return InlineReader(self._contents[digest])

    def remove(self, digest: str) -> None:
        """Drop it."""
        self._contents.pop(digest, None)

    def digests(self) -> Iterator[str]:
        """Those that are there now."""
        yield from list(self._contents)

    def free_bytes(self) -> int | None:
        """What the capacity leaves."""
        if self._capacity is None:
            return None
        return self._capacity - self._in_drafts - sum(map(len, self._contents.values()))

    def reserve(self, length: int) -> None:
        """Take room for a draft."""
        free = self.free_bytes()
        if free is not None and length > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._in_drafts += length

    def settle(self, digest: str, content: bytes) -> None:
        """A draft becomes a content."""
        self._in_drafts -= len(content)
        self._contents[digest] = content

    def free(self, length: int) -> None:
        """Give back the room of a draft."""
        self._in_drafts -= length


class MemoryDraft:
    """Chunks that wait for their name."""

    def __init__(self, store: MemoryContents) -> None:
        self._store = store
        self._chunks: list[Chunk] = []

    def write(self, data: Chunk) -> None:
        """Keep it."""
        self._store.reserve(len(data))
        self._chunks.append(data)

    def commit(self, digest: str) -> None:
        """Join and store."""
        self._store.settle(digest, b"".join(self._chunks))
        self._chunks = []

    def discard(self) -> None:
        """Give back what it took."""
        self._store.free(sum(map(len, self._chunks)))
        self._chunks = []
