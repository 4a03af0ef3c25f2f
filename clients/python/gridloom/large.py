"""Envelopes of large values: where their buffers lie, and how they are put there and fetched.

That is in `objects`, by digest and on disk; for payloads that need not be durable in shared memory
of this machine, by name, where there is such a thing and it has room; or else on disk like others.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import call_pb2
from gridloom.errors import GridloomError, InternalError
from gridloom.payload import LARGE, OUT_OF_BAND_BYTES, SHARED, Encoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gridloom.api.functions.v1.call_pb2 import Buffer, LargePayload
    from gridloom.payload import Objects, Pickled
    from gridloom.segments import Place

Content = bytes | bytearray | memoryview


class PinnedEnvelope(bytes):
    """An envelope with the segments that it refers to: they stay as they are while it is here."""

    segments: Mapping[str, Content]


def sealed_inside(pickled: Pickled) -> Encoded:
    """The envelope of a value that fits into one."""
    large = call_pb2.LargePayload(pickle=pickled.body)
    for part in pickled.buffers:
        large.buffers.add(size_bytes=part.nbytes, data=bytes(part))
    return _encoded(large, (), pickled)


def sealed(
    pickled: Pickled, objects: Objects, inline_limit_bytes: int, *, durable: bool
) -> Encoded:
    """The envelope of a value whose buffers are put elsewhere, and its pickle if that is large."""
    parts = list(pickled.buffers)
    is_body_large = len(pickled.body) >= min(OUT_OF_BAND_BYTES, inline_limit_bytes)
    if is_body_large:
        parts.append(memoryview(pickled.body))
    shared = None if durable else objects.share(parts)
    if shared is not None:
        return _in_segments(pickled, shared)
    digests = [objects.put_bytes(part) for part in parts]
    large = call_pb2.LargePayload()
    for part, digest in zip(pickled.buffers, digests, strict=False):
        large.buffers.add(size_bytes=part.nbytes, digest=digest)
    if is_body_large:
        large.pickle_digest = digests[-1]
    else:
        large.pickle = pickled.body
    return _encoded(large, digests, pickled)


def _in_segments(pickled: Pickled, places: Sequence[Place]) -> Encoded:
    large = call_pb2.LargePayload()
    for part, place in zip(pickled.buffers, places, strict=False):
        large.buffers.append(_buffer(part.nbytes, place))
    if len(places) > len(pickled.buffers):
        large.pickle_buffer.CopyFrom(_buffer(len(pickled.body), places[-1]))
    else:
        large.pickle = pickled.body
    return _encoded(large, [SHARED + place.name for place in places], pickled)


def _buffer(size_bytes: int, place: Place) -> Buffer:
    segment = call_pb2.Segment(arena=place.name, offset=place.offset)
    return call_pb2.Buffer(segment=segment, size_bytes=size_bytes)


def _encoded(large: LargePayload, names: Iterable[str], pickled: Pickled) -> Encoded:
    data = LARGE + large.SerializeToString()
    return Encoded(data, tuple(dict.fromkeys(names)), pickled.dependencies)


def pinned(envelope: bytes, objects: Objects | None) -> bytes:
    """The envelope, which keeps its segments: from now on they may be let go of.

    What is wrong with one is said when the envelope is opened.
    """
    large = call_pb2.LargePayload.FromString(envelope[1:])
    names = {each.segment.arena for each in _all_buffers(large) if each.HasField("segment")}
    if not names or objects is None:
        return envelope
    found: dict[str, Content] = {}
    for name in names:
        with suppress(GridloomError):
            found[name] = objects.shared(name)
    kept = PinnedEnvelope(envelope)
    kept.segments = found
    return kept


def opened(envelope: bytes | memoryview, objects: Objects | None) -> tuple[Content, list[Content]]:
    """The pickle in an envelope, and the buffers that belong to it, to keep and change.

    NotFoundError or PayloadLostError where one is gone.
    """
    large = call_pb2.LargePayload.FromString(bytes(envelope[1:]))
    fetching = _Fetching(objects, dict(getattr(envelope, "segments", {})))
    body: Content = large.pickle
    if large.HasField("pickle_digest"):
        body = fetching.digest(large.pickle_digest)
    elif large.HasField("pickle_buffer"):
        body = fetching.buffer(large.pickle_buffer)
    return body, [fetching.buffer(part) for part in large.buffers]


class _Fetching:
    """Gets the parts of one envelope; a segment that holds several of them once."""

    def __init__(self, objects: Objects | None, segments: dict[str, Content]) -> None:
        self._objects = objects
        self._segments = segments

    def buffer(self, part: Buffer) -> Content:
        """A buffer's bytes."""
        place = part.WhichOneof("place")
        if place == "digest":
            return self.digest(part.digest)
        if place == "data":
            return bytearray(part.data)
        if place != "segment":
            raise InternalError("a buffer lies where nothing here can reach it")
        start = part.segment.offset
        return memoryview(self._segment(part.segment.arena))[start : start + part.size_bytes]

    def digest(self, digest: str) -> Content:
        """An object's bytes."""
        return self._reachable(digest).get_bytes(digest)

    def _segment(self, name: str) -> Content:
        if name not in self._segments:
            self._segments[name] = self._reachable(SHARED + name).shared(name)
        return self._segments[name]

    def _reachable(self, name: str) -> Objects:
        if self._objects is None:
            raise InternalError(f"a value lies in object {name}, which nothing here can reach")
        return self._objects


def _all_buffers(large: LargePayload) -> list[Buffer]:
    return [*large.buffers, large.pickle_buffer]
