"""The `objects` service in a dictionary, behind real gRPC."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from gridloom.api.objects.v1 import objects_pb2, objects_pb2_grpc
from gridloom.objects import CHUNK_BYTES


class DictionaryObjects(objects_pb2_grpc.ObjectsServiceServicer):
    """`objects` in a dictionary. `break_after` chunks a transfer breaks off, once."""

    def __init__(self):
        self.stored = {}
        self.holders = {}
        self.stats = self.puts = self.gets = 0
        self.break_after = None
        self.named_last = 0
        self.takes_named_last = True

    def PutObject(self, request_iterator, context):  # noqa: N802
        self.puts += 1
        header, *chunks = list(request_iterator)
        ref = header.header.object
        if not ref.digest:  # it comes last
            if not self.takes_named_last:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no digest")
            self.named_last += 1
            ref.digest = chunks.pop().digest
        data = b"".join(each.chunk for each in chunks)
        assert ref.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert ref.size_bytes == len(data)
        assert all(len(each.chunk) <= CHUNK_BYTES for each in chunks)
        self.holders[ref.digest] = header.header.holder
        self._maybe_break(context, len(chunks))
        self.stored[ref.digest] = data
        return objects_pb2.PutObjectResponse(object=ref)

    def GetObject(self, request, context):  # noqa: N802
        self.gets += 1
        data = self.stored.get(request.digest)
        if data is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no object {request.digest}")
        ref = objects_pb2.ObjectRef(digest=request.digest, size_bytes=len(data))
        yield objects_pb2.GetObjectResponse(object=ref)
        for number, start in enumerate(range(request.offset, len(data), CHUNK_BYTES)):
            self._maybe_break(context, number)
            yield objects_pb2.GetObjectResponse(chunk=data[start : start + CHUNK_BYTES])

    def StatObjects(self, request, context):  # noqa: N802
        del context
        self.stats += 1
        return objects_pb2.StatObjectsResponse(
            objects=[
                objects_pb2.ObjectStat(
                    object=objects_pb2.ObjectRef(digest=digest), exists=digest in self.stored
                )
                for digest in request.digests
            ]
        )

    def _maybe_break(self, context, number):
        if self.break_after is not None and number >= self.break_after:
            self.break_after = None
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone for a moment")


@contextmanager
def served(service):
    """Serve it on a free port; the address."""
    server = grpc.server(ThreadPoolExecutor(8))
    objects_pb2_grpc.add_ObjectsServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
