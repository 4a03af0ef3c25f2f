"""An object store that forgets, served by gRPC: what the containers of pods speak to in tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
from gridloom.api.objects.v1 import objects_pb2, objects_pb2_grpc

from tests.support.runtimes import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK_BYTES = 1 << 20


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _read(path: Path) -> bytes:
    return path.read_bytes()


class ObjectServer(objects_pb2_grpc.ObjectsServiceServicer):
    """Keeps objects in memory. A door for a runtime too."""

    def __init__(self, host: str) -> None:
        self.objects: dict[str, bytes] = {}
        self.holders: dict[str, str] = {}
        self._server = grpc.server(ThreadPoolExecutor(8))
        objects_pb2_grpc.add_ObjectsServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(f"{host}:0")
        self.address = f"http://{host}:{port}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def put(self, content: bytes) -> str:
        digest = digest_of(content)
        self.objects[digest] = content
        return digest

    # ---- for a runtime

    async def fetch(self, digest: str, path: Path) -> None:
        _write(path, self.objects[digest])

    async def store(self, path: Path, holder: str) -> tuple[str, int]:
        digest = self.put(_read(path))
        self.holders[digest] = holder
        return digest, len(self.objects[digest])

    # ---- for containers

    def PutObject(  # noqa: N802 - the name of the API's method
        self,
        request_iterator: Iterator[objects_pb2.PutObjectRequest],
        context: grpc.ServicerContext,
    ) -> objects_pb2.PutObjectResponse:
        first, *parts = list(request_iterator)
        header = first.header
        digest = self.put(b"".join(each.chunk for each in parts))
        if digest != (header.object.digest or parts[-1].digest):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "other content")
        if header.holder:
            self.holders[digest] = header.holder
        return objects_pb2.PutObjectResponse()

    def GetObject(  # noqa: N802 - the name of the API's method
        self, request: objects_pb2.GetObjectRequest, context: grpc.ServicerContext
    ) -> Iterator[objects_pb2.GetObjectResponse]:
        content = self.objects.get(request.digest)
        if content is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no object {request.digest}")
        ref = objects_pb2.ObjectRef(digest=request.digest, size_bytes=len(content))
        yield objects_pb2.GetObjectResponse(object=ref)
        for begin in range(request.offset, len(content), _CHUNK_BYTES):
            yield objects_pb2.GetObjectResponse(chunk=content[begin : begin + _CHUNK_BYTES])

    def StatObjects(  # noqa: N802 - the name of the API's method
        self, request: objects_pb2.StatObjectsRequest, context: grpc.ServicerContext
    ) -> objects_pb2.StatObjectsResponse:
        stats = [
            objects_pb2.ObjectStat(
                object=objects_pb2.ObjectRef(digest=digest), exists=digest in self.objects
            )
            for digest in request.digests
        ]
        return objects_pb2.StatObjectsResponse(objects=stats)
