"""Contents so small that a row holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gridloom.object_parts import Chunk


class InlineDraft:
    """A draft that never leaves memory: its row is its commit."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, data: Chunk) -> None:
        """Append."""
        self.content += data

    def commit(self, digest: str) -> None:
        """Whoever writes the row has done it."""

    def discard(self) -> None:
        """Forget it."""
        self.content = b""


class InlineReader:
    """Slices of the bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, offset: int, length: int) -> bytes:
        """A slice."""
        return self._content[offset : offset + length]

    def close(self) -> None:
        """There is nothing to let go of."""
