"""The objects service as the scheduler uses it: files in and out, and what is kept for jobs."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, NoReturn

import grpc
from gridloom.api.objects.v1 import objects_pb2, objects_pb2_grpc

from gridloom_services.common.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gridloom_services.common.channels import Channels

CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0
# Digests in one request.
_BATCH = 1000


class ObjectsClient:
    """Keeps the promises of the runtime's `ObjectsDoor` and of `ObjectKeeper`."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    def _stub(self) -> objects_pb2_grpc.ObjectsServiceAsyncStub:
        return objects_pb2_grpc.ObjectsServiceStub(self._channels.channel("objects"))

    # ---- files

    async def fetch(self, digest: str, path: Path) -> None:
        """Write an object to a new file. LookupError: there is none; OSError: not to be had."""
        call = self._stub().GetObject(
            objects_pb2.GetObjectRequest(digest=digest), metadata=self._channels.metadata
        )
        try:
            with await asyncio.to_thread(path.open, "xb") as file:
                async for part in call:
                    await asyncio.to_thread(file.write, part.chunk)
        except grpc.aio.AioRpcError as error:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise LookupError(f"object {digest} does not exist") from error
            raise OSError(f"object {digest} cannot be had: {error.details()}") from error

    async def store(self, path: Path, holder: str) -> tuple[str, int]:
        """Store a file for `holder`; its digest and size. OSError where that cannot be."""
        digest, size = await asyncio.to_thread(_digest, path)
        ref = objects_pb2.ObjectRef(digest=digest, size_bytes=size)
        try:
            await self._stub().PutObject(
                _upload(path, ref, holder), metadata=self._channels.metadata
            )
        except grpc.aio.AioRpcError as error:
            raise OSError(f"{path} cannot be stored: {error.details()}") from error
        return digest, size

    # ---- keeping

    async def missing(self, digests: frozenset[str]) -> frozenset[str]:
        """Return those that do not exist."""
        return digests - (await self.sizes(digests)).keys()

    async def hold(self, holder: str, digests: frozenset[str]) -> None:
        """Keep objects for `holder`."""
        request = objects_pb2.HoldObjectsRequest(holder=holder, digests=sorted(digests))
        try:
            await self._stub().HoldObjects(
                request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            _unavailable(error)

    async def sizes(self, digests: frozenset[str]) -> dict[str, int]:
        """Return the sizes in bytes of those that exist."""
        found: dict[str, int] = {}
        ordered = sorted(digests)
        for begin in range(0, len(ordered), _BATCH):
            request = objects_pb2.StatObjectsRequest(digests=ordered[begin : begin + _BATCH])
            try:
                answer = await self._stub().StatObjects(
                    request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
                )
            except grpc.aio.AioRpcError as error:
                _unavailable(error)
            existing = (each.object for each in answer.objects if each.exists)
            found |= {each.digest: each.size_bytes for each in existing}
        return found

    async def piece(self, digest: str, offset: int, length: int) -> bytes:
        """Return bytes of an object. LookupError: there is none; UnavailableError."""
        request = objects_pb2.GetObjectRequest(digest=digest, offset=offset, length_bytes=length)
        call = self._stub().GetObject(request, metadata=self._channels.metadata, timeout=_TIMEOUT_S)
        try:
            return b"".join([part.chunk async for part in call])
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise LookupError(f"object {digest} does not exist") from error
            _unavailable(error)

    async def release(self, holder: str) -> None:
        """Let go of what `holder` keeps."""
        request = objects_pb2.ReleaseObjectsRequest(holder=holder)
        try:
            await self._stub().ReleaseObjects(
                request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            _unavailable(error)


def _unavailable(error: grpc.aio.AioRpcError) -> NoReturn:
    raise UnavailableError(f"the objects service does not answer: {error.details()}") from error


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return f"sha256:{digest}", file.tell()


async def _upload(
    path: Path, ref: objects_pb2.ObjectRef, holder: str
) -> AsyncIterator[objects_pb2.PutObjectRequest]:
    header = objects_pb2.PutObjectRequest.Header(object=ref, holder=holder)
    yield objects_pb2.PutObjectRequest(header=header)
    with path.open("rb") as file:
        while data := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield objects_pb2.PutObjectRequest(chunk=data)
