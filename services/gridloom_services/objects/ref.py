"""The name of an object: the digest of its content, and its size."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.objects.segments import is_segment

if TYPE_CHECKING:
    from gridloom.object_parts import Chunk

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object; `digest` is "sha256:" and 64 lower-case hexadecimal digits."""

    digest: str
    size_bytes: int


def check_digest(digest: str) -> str:
    """The digest; InvalidRequestError if it is not written as one."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidRequestError(
            f'"{digest[:80]}" is not a digest',
            field="digest",
            given=digest[:80],
            allowed="sha256: and 64 lower-case hexadecimal digits",
        )
    return digest


def check_name(name: str) -> str:
    """The digest of an object or the name of a segment; InvalidRequestError if it is neither."""
    return name if is_segment(name) else check_digest(name)


class Sha256:
    """The digest of what has been added so far."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, data: Chunk) -> None:
        """Take in more. Lets other threads run meanwhile."""
        self._hash.update(data)

    @property
    def digest(self) -> str:
        """As an `ObjectRef` has it."""
        return f"sha256:{self._hash.hexdigest()}"
