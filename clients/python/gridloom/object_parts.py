"""The parts of objects on their way, on the wire as protobuf has them, and with fewer copies.

A chunk is most of what travels. Protobuf's own classes copy it twice on each side: here a chunk is
put into its message once, and seen within the message that has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gridloom.api.objects.v1 import objects_pb2 as pb

if TYPE_CHECKING:
    import grpc

SERVICE = "gridloom.api.objects.v1.ObjectsService"
# Both messages have their chunk in field 2, and the answer its object in field 1.
_CHUNK = 0x12
_OBJECT = 0x0A
_LAST_SEVEN_BITS = 0x7F
_MORE = 0x80

Chunk = bytes | memoryview
PutPart = pb.PutObjectRequest | Chunk


class GotPart(NamedTuple):
    """What one message of an answer holds: the first one tells the object."""

    chunk: Chunk
    object: pb.ObjectRef | None = None


def write_put(part: PutPart) -> bytes:
    """The bytes of a `PutObjectRequest`: a header, a digest, or a chunk."""
    return part.SerializeToString() if isinstance(part, pb.PutObjectRequest) else _framed(part)


def read_put(data: bytes) -> PutPart:
    """What is in them; a chunk as a view of them."""
    found = _chunk_at(data, 0)
    return pb.PutObjectRequest.FromString(data) if found is None else found


def write_got(part: GotPart) -> bytes:
    """The bytes of a `GetObjectResponse`."""
    if part.object is None:
        return _framed(part.chunk)
    return _framed(part.chunk, pb.GetObjectResponse(object=part.object).SerializeToString())


def read_got(data: bytes) -> GotPart:
    """What is in them; the chunk as a view of them."""
    start, found = 0, None
    if data[:1] == bytes([_OBJECT]):
        size, begin = _number_at(data, 1)
        start = begin + size
        found = pb.ObjectRef.FromString(data[begin:start])
    chunk = _chunk_at(data, start)
    if chunk is not None:
        return GotPart(chunk, found)
    whole = pb.GetObjectResponse.FromString(data)
    return GotPart(whole.chunk, whole.object if whole.HasField("object") else None)


def put_object(channel: grpc.Channel) -> Any:
    """As the stub's `PutObject`, of `PutPart`."""
    return channel.stream_unary(
        f"/{SERVICE}/PutObject",
        request_serializer=write_put,
        response_deserializer=pb.PutObjectResponse.FromString,
    )


def get_object(channel: grpc.Channel) -> Any:
    """As the stub's `GetObject`, of `GotPart`."""
    return channel.unary_stream(
        f"/{SERVICE}/GetObject",
        request_serializer=pb.GetObjectRequest.SerializeToString,
        response_deserializer=read_got,
    )


def _framed(chunk: Chunk, before: bytes = b"") -> bytes:
    return b"".join((before, bytes([_CHUNK]), _number(len(chunk)), chunk))


def _chunk_at(data: bytes, start: int) -> memoryview | None:
    """The chunk, where the rest of the message is one and nothing else."""
    if data[start : start + 1] != bytes([_CHUNK]):
        return None
    size, begin = _number_at(data, start + 1)
    return memoryview(data)[begin:] if begin + size == len(data) else None


def _number(value: int) -> bytes:
    found = bytearray()
    while value > _LAST_SEVEN_BITS:
        found.append(value & _LAST_SEVEN_BITS | _MORE)
        value >>= 7
    found.append(value)
    return bytes(found)


def _number_at(data: bytes, start: int) -> tuple[int, int]:
    """A number, and where it ends; where the bytes end amid it, as if it were huge."""
    value = shift = 0
    for place in range(start, len(data)):
        value |= (data[place] & _LAST_SEVEN_BITS) << shift
        shift += 7
        if not data[place] & _MORE:
            return value, place + 1
    return 1 << 64, len(data)
