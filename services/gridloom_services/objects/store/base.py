"""What a store of contents is. One contract suite runs on every implementation.

All methods block and may be used from several threads; the service calls them off its loop. A store
knows bytes by digest and nothing else: whether an object exists is said by the service's tables,
a content without a row is litter. OSError (with ENOSPC for a full disk) where bytes cannot be had;
a store elsewhere that is away is an UnavailableError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gridloom.object_parts import Chunk


class Draft(Protocol):
    """A content on its way in: nobody can read it yet."""

    def write(self, data: Chunk) -> None:
        """Append."""
        ...

    def commit(self, digest: str) -> None:
        """Make it the content of `digest`, in place of one that is there. Then it is durable.

        That the bytes have this digest is the caller's business.
        """
        ...

    def discard(self) -> None:
        """Forget it. After `commit`, and a second time, nothing happens."""
        ...


class Reader(Protocol):
    """An open content.

    Where it is removed meanwhile, `read` may raise FileNotFoundError, and never gives other bytes.
    """

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes; empty at the end only."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """Where processes of this machine and user reach contents and leave drafts themselves.

    They know the folder by the file "mark" in it, whose content is `mark`.
    """

    path: Path
    mark: bytes


class ContentStore(Protocol):
    """Bytes by digest."""

    def open(self) -> None:
        """Make ready, and remove the drafts of a process that died. Before anything else."""
        ...

    def draft(self) -> Draft:
        """Begin a content."""
        ...

    def local(self) -> LocalFolder | None:
        """Return where contents are files; None: they are not, or nobody else reaches them."""
        ...

    def left(self, name: str, size_bytes: int) -> Draft:
        """Return the whole draft of this size that another process has left in the local folder.

        FileNotFoundError where there is none such.
        """
        ...

    def tidy(self) -> None:
        """Remove drafts that were left and that nobody has come back to for a day."""
        ...

    def size(self, digest: str) -> int | None:
        """How many bytes are there; None for no such content."""
        ...

    def reader(self, digest: str) -> Reader:
        """Open a content; FileNotFoundError if there is none."""
        ...

    def remove(self, digest: str) -> None:
        """Remove a content; nothing happens if there is none."""
        ...

    def digests(self) -> Iterator[str]:
        """Every content that is there, in no order."""
        ...

    def free_bytes(self) -> int | None:
        """How much more fits; None where nobody knows."""
        ...
