"""How a stream of calls travels by a unix socket without gRPC: what both sides agree on.

A frame is the length of its body (4 bytes, big endian), its kind (1 byte), and the body. The side
that opens sends HEAD (JSON: the method's path and the call's metadata), then messages, then END
when it has no more. The other side sends messages, and last TAIL (JSON: status, sentence, trailing
metadata), after which it closes; a name of metadata that ends in "-bin" has a value in base64. PING
asks whether the opening side is still there, which answers PONG. It is what gRPC carries, by the
same names: whoever serves or reads the stream knows no difference.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD, MESSAGE, END, TAIL, PING, PONG = range(6)

LENGTH_AND_KIND = struct.Struct(">IB")
"""What stands before each body."""

LONGEST_PATH = 107
"""What a kernel takes as the path of a unix socket."""

_BINARY = "-bin"

Metadata = tuple[tuple[str, str | bytes], ...]


class OutOfStepError(ValueError):
    """What came is no frame of ours."""


def frame(kind: int, body: bytes = b"") -> bytes:
    """A frame as it is sent."""
    return LENGTH_AND_KIND.pack(len(body), kind) + body


class Frames:
    """Puts frames together from the pieces in which they arrive."""

    def __init__(self, longest: int) -> None:
        """A frame that is longer than this (bytes) is none of ours."""
        self._longest = longest
        self._data = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The next bytes of the stream; kind and body of each frame that is whole now.

        OutOfStepError where one is announced that is too long.
        """
        buffer, start, whole = self._data, 0, []
        buffer += data
        while len(buffer) - start >= LENGTH_AND_KIND.size:
            length, kind = LENGTH_AND_KIND.unpack_from(buffer, start)
            if length > self._longest:
                raise OutOfStepError(f"a frame of {length:,} bytes; the most is {self._longest:,}")
            end = start + LENGTH_AND_KIND.size + length
            if end > len(buffer):
                break
            whole.append((kind, bytes(memoryview(buffer)[start + LENGTH_AND_KIND.size : end])))
            start = end
        del buffer[:start]
        return whole


def head(method: str, metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """The frame that opens a stream."""
    said = {"method": method, "metadata": [_spoken(*pair) for pair in metadata]}
    return frame(HEAD, json.dumps(said).encode())


def read_head(body: bytes) -> tuple[str, Metadata]:
    """Method and metadata; OutOfStepError where it is none."""
    said = _read(body)
    try:
        return str(said["method"]), tuple(_heard(*pair) for pair in said["metadata"])
    except (KeyError, TypeError, ValueError) as error:
        raise OutOfStepError("the head of a stream cannot be read") from error


def tail(code: int, details: str, metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """The frame that ends a stream: the number of a gRPC status, and what goes with it."""
    said = {
        "code": code,
        "details": details,
        "metadata": [_spoken(*pair) for pair in metadata],
    }
    return frame(TAIL, json.dumps(said).encode())


def read_tail(body: bytes) -> tuple[int, str, Metadata]:
    """Status, sentence and trailing metadata; OutOfStepError where it is none."""
    said = _read(body)
    try:
        metadata = tuple(_heard(*pair) for pair in said["metadata"])
        return int(said["code"]), str(said["details"]), metadata
    except (KeyError, TypeError, ValueError) as error:
        raise OutOfStepError("the end of a stream cannot be read") from error


def _read(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError as error:
        raise OutOfStepError("what should be JSON is not") from error
    if not isinstance(said, dict):
        raise OutOfStepError("what should be an object is not")
    return said


def _spoken(name: str, value: str | bytes) -> tuple[str, str]:
    return name, base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _heard(name: str, value: str) -> tuple[str, str | bytes]:
    return name, base64.b64decode(value) if name.endswith(_BINARY) else value
