"""Protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from gridloom import object_parts
from gridloom.api.objects.v1 import objects_pb2 as pb
from gridloom.api.objects.v1 import objects_pb2_grpc
from gridloom.object_parts import GotPart

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.objects.ref import ObjectRef, check_digest, check_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from gridloom.object_parts import Chunk, PutPart

    from gridloom_services.objects.objects import Objects
    from gridloom_services.objects.segments import Memory
    from gridloom_services.objects.store.base import LocalFolder

    Context = grpc.aio.ServicerContext[Any, Any]

_MOST_DIGESTS = 10_000
_LONGEST_HOLDER = 200


class ObjectsServicer(objects_pb2_grpc.ObjectsServiceServicer):
    """The objects service as gRPC sees it."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register all methods; chunks are read and written without protobuf's copies of them."""
        own: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "PutObject": grpc.stream_unary_rpc_method_handler(
                self.PutObject,
                request_deserializer=object_parts.read_put,
                response_serializer=pb.PutObjectResponse.SerializeToString,
            ),
            "GetObject": grpc.unary_stream_rpc_method_handler(
                self.GetObject,
                request_deserializer=pb.GetObjectRequest.FromString,
                response_serializer=object_parts.write_got,
            ),
        }
        # Of handlers that are looked through the first counts, of registered ones the last.
        generic = grpc.method_handlers_generic_handler(object_parts.SERVICE, own)
        server.add_generic_rpc_handlers((generic,))
        objects_pb2_grpc.add_ObjectsServiceServicer_to_server(self, server)
        server.add_registered_method_handlers(object_parts.SERVICE, own)

    async def PutObject(  # noqa: N802
        self, request_iterator: AsyncIterator[PutPart], context: Context
    ) -> pb.PutObjectResponse:
        """Header, then chunks."""
        del context
        header = await _header(request_iterator)
        holder = _holder(header.holder)
        if not header.object.digest and not header.draft:
            last = _Last(request_iterator)
            size = _size(header.object)
            put = self._objects.put_named_last(size, last.chunks(), last.digest, holder)
            ref, existed = await put
            return pb.PutObjectResponse(object=_object(ref), existed=existed)
        ref = _ref(header.object)
        chunks = _chunks(request_iterator)
        existed = await self._objects.put(ref, chunks, holder, header.draft)
        return pb.PutObjectResponse(object=_object(ref), existed=existed)

    async def GetObject(  # type: ignore[override]  # noqa: N802
        self, request: pb.GetObjectRequest, context: Context
    ) -> AsyncIterator[GotPart]:
        """The reference with the first chunk (or alone), then chunks."""
        del context
        digest = check_name(request.digest)
        reading = self._objects.reading(digest, request.offset, request.length_bytes)
        async with reading as (ref, chunks):
            first: pb.ObjectRef | None = _object(ref)
            async for chunk in chunks:
                yield GotPart(chunk, first)
                first = None
            if first is not None:
                yield GotPart(b"", first)

    async def StatObjects(  # noqa: N802
        self, request: pb.StatObjectsRequest, context: Context
    ) -> pb.StatObjectsResponse:
        """In the order asked."""
        del context
        digests = _digests(request.digests)
        found = await self._objects.find(digests)
        local = self._objects.local()
        memory = await self._objects.memory() if request.shared_memory else None
        return pb.StatObjectsResponse(
            local=None if local is None else _local(local, self._objects.reserve_bytes),
            shared_memory=None if memory is None else _memory(memory),
            objects=[
                pb.ObjectStat(object=_object(ref or ObjectRef(digest, 0)), exists=ref is not None)
                for digest, ref in zip(digests, found, strict=True)
            ],
        )

    async def HoldObjects(  # noqa: N802
        self, request: pb.HoldObjectsRequest, context: Context
    ) -> pb.HoldObjectsResponse:
        """Those that exist."""
        del context
        holder = _holder(request.holder, needed=True)
        missing = await self._objects.hold(holder, _digests(request.digests))
        return pb.HoldObjectsResponse(missing=missing)

    async def ReleaseObjects(  # noqa: N802
        self, request: pb.ReleaseObjectsRequest, context: Context
    ) -> pb.ReleaseObjectsResponse:
        """All of them."""
        del context
        await self._objects.release(_holder(request.holder, needed=True))
        return pb.ReleaseObjectsResponse()


async def _header(requests: AsyncIterator[PutPart]) -> pb.PutObjectRequest.Header:
    async for request in requests:
        if isinstance(request, pb.PutObjectRequest) and request.WhichOneof("part") == "header":
            return request.header
        break
    raise InvalidRequestError(
        "the first message of a put is its header", field="header", allowed="object and holder"
    )


async def _chunks(requests: AsyncIterator[PutPart]) -> AsyncIterator[Chunk]:
    async for request in requests:
        yield _chunk(request)


def _chunk(part: PutPart) -> Chunk:
    if not isinstance(part, pb.PutObjectRequest):
        return part
    if part.WhichOneof("part") != "chunk":
        raise InvalidRequestError("after the header come chunks", field="chunk")
    return part.chunk


class _Last:
    """The parts of a put whose digest comes last."""

    def __init__(self, requests: AsyncIterator[PutPart]) -> None:
        self._requests = requests
        self._digest = ""

    async def chunks(self) -> AsyncIterator[Chunk]:
        """The content; after it the digest is known."""
        async for part in self._requests:
            if isinstance(part, pb.PutObjectRequest) and part.WhichOneof("part") == "digest":
                self._digest = part.digest
                return
            yield _chunk(part)

    def digest(self) -> str:
        """InvalidRequestError where none has come."""
        return check_digest(self._digest)


def _ref(given: pb.ObjectRef) -> ObjectRef:
    return ObjectRef(check_digest(given.digest), _size(given))


def _size(given: pb.ObjectRef) -> int:
    if given.size_bytes < 0:
        raise InvalidRequestError(
            f"an object cannot have {given.size_bytes} bytes",
            field="object.size_bytes",
            given=given.size_bytes,
            allowed="0 or more",
        )
    return given.size_bytes


def _local(folder: LocalFolder, reserve_bytes: int) -> pb.LocalStore:
    return pb.LocalStore(folder=str(folder.path), mark=folder.mark, reserve_bytes=reserve_bytes)


def _memory(memory: Memory) -> pb.SharedMemory:
    return pb.SharedMemory(
        folder=str(memory.path), mark=memory.mark, reserve_bytes=memory.reserve_bytes
    )


def _digests(given: Iterable[str]) -> list[str]:
    digests = [check_name(digest) for digest in given]
    if len(digests) > _MOST_DIGESTS:
        raise InvalidRequestError(
            f"{len(digests)} digests in one request",
            field="digests",
            given=len(digests),
            allowed=f"at most {_MOST_DIGESTS}",
        )
    return digests


def _holder(given: str, *, needed: bool = False) -> str:
    if len(given) > _LONGEST_HOLDER or (needed and not given):
        raise InvalidRequestError(
            f'"{given[:_LONGEST_HOLDER]}" cannot be a holder',
            field="holder",
            given=given[:_LONGEST_HOLDER],
            allowed=f"a job, group or call id, 1 to {_LONGEST_HOLDER} characters",
        )
    return given


def _object(ref: ObjectRef) -> pb.ObjectRef:
    return pb.ObjectRef(digest=ref.digest, size_bytes=ref.size_bytes)
