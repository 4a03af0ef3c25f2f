"""Bytes and files in and out of the `objects` service, in chunks, by digest.

What is there already is not sent again: the service is asked first, and for a while after that the
answer is remembered here. Every method blocks, may be used from any thread, and is tried again from
where it was when the platform falls silent.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gridloom import object_parts
from gridloom.api.objects.v1 import objects_pb2
from gridloom.errors import InvalidRequestError, NotFoundError, PayloadLostError
from gridloom.local_objects import LEAST_BYTES, LocalFolder
from gridloom.operation import Call
from gridloom.payload import SHARED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gridloom.channel import Connection, Route
    from gridloom.local_objects import LocalDraft
    from gridloom.object_parts import Chunk, PutPart
    from gridloom.segments import Place, SharedFolder

Bytes = bytes | bytearray | memoryview

CHUNK_BYTES = 1024 * 1024
# Objects that nobody holds go by age, which is far longer.
_REMEMBERED_S = 300.0
_REMEMBERED_MOST = 100_000

_log = logging.getLogger("gridloom.objects")


def digest_of(data: Bytes) -> str:
    """The name of these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Known:
    """Digests that were seen in the service a short while ago."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}
        # Of the last content of each size that was to be sent: whether it was there already.
        self._was_there: dict[int, bool] = {}
        self._lock = threading.Lock()

    def __contains__(self, digest: str) -> bool:
        seen = self._seen.get(digest)
        return seen is not None and self._clock() - seen < _REMEMBERED_S

    def add(self, digest: str) -> None:
        """The service has it now."""
        with self._lock:
            if len(self._seen) >= _REMEMBERED_MOST:
                self._seen.clear()
            self._seen[digest] = self._clock()

    def note(self, size: int, *, was_there: bool) -> None:
        """A content of this size was to be sent."""
        with self._lock:
            if len(self._was_there) >= _REMEMBERED_MOST:
                self._was_there.clear()
            self._was_there[size] = was_there

    def likely(self, size: int) -> bool:
        """Whether the next content of this size may well be there, as the last one was."""
        return self._was_there.get(size, False)


class ObjectsClient:
    """The `objects` service at the other end of a connection."""

    def __init__(
        self,
        connection: Connection,
        *,
        holder: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Objects are kept for `holder` (a job or call) from the moment they are put, if named."""
        self._connection = connection
        self._holder = holder
        self._known = _Known(clock)
        # Where contents can be reached without the service: known once it was asked for something.
        self._local: LocalFolder | None = None
        # It was asked, and contents cannot be reached so.
        self._is_elsewhere = False
        self._may_name_last = True
        self._memory: SharedFolder | None = None
        self._has_asked_for_memory = False

    def put_bytes(self, data: Bytes) -> str:
        """Store the bytes and return their digest. They are on disk when it returns."""
        view = memoryview(data).cast("B")
        if self._is_elsewhere and self._may_name_last and self._is_news(view):
            try:
                return self._send_named_last(view)
            except InvalidRequestError:  # of an older platform; else it says again what is wrong
                self._may_name_last = False
        known = self._local.digest_of(view) if self._local is not None else None
        early = self._early_draft(view) if known is None else None
        try:
            digest = known or digest_of(view)
            is_there = not self.missing([digest])
            # A holder is written down by a put only.
            if self._holder or not is_there:
                self._send_bytes(digest, view, early)
        finally:
            if early is not None:
                early.discard()
        self._known.add(digest)
        self._known.note(view.nbytes, was_there=is_there)
        return digest

    def put_file(self, path: str | os.PathLike[str]) -> objects_pb2.ObjectRef:
        """Store a file's content; it must not change meanwhile."""
        source = Path(path)
        with source.open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            size = file.tell()
        if self._holder or self.missing([digest]):
            self._send(digest, size, lambda: _file_chunks(source))
        self._known.add(digest)
        return objects_pb2.ObjectRef(digest=digest, size_bytes=size)

    def get_bytes(self, digest: str) -> bytearray | memoryview:
        """An object's content, for the caller to keep and change.

        Raises `NotFoundError` where there is none with this digest.
        """
        if not self.missing([digest]) and self._local is not None:
            found = self._local.read(digest)
            if found is not None:
                self._known.add(digest)
                return found
        target = _Memory()
        self._get(digest, target)
        return target.data

    def get_file(self, digest: str, path: str | os.PathLike[str]) -> None:
        """Write an object's content to a file, which appears whole or not at all."""
        target = Path(path)
        number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(number, "wb") as file:
                self._get(digest, _File(file))
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Which of these the service does not have."""
        asked = [digest for digest in dict.fromkeys(digests) if digest not in self._known]
        if not asked:
            return []
        request = objects_pb2.StatObjectsRequest(digests=asked)
        answer = self._connection.call(Call("objects", "StatObjects", request))
        if self._local is None and answer.HasField("local"):
            self._local = LocalFolder.found(answer.local)
        self._is_elsewhere = self._local is None
        absent = []
        for digest, stat in zip(asked, answer.objects, strict=True):
            if stat.exists:
                self._known.add(digest)
            else:
                absent.append(digest)
        return absent

    # ---- what need not be durable

    def has_memory(self) -> bool:
        """Whether the platform's shared memory is within reach; what is not goes to disk."""
        if not self._has_asked_for_memory:
            self._memory = self._found_memory()
            self._has_asked_for_memory = True
            if self._memory is None:
                _log.warning(
                    "durable=False has no effect: the platform has no shared memory with this"
                    " process; large values are on its disk before a call is accepted"
                )
        return self._memory is not None

    def share(self, parts: Sequence[memoryview]) -> Sequence[Place] | None:
        """Put the bytes into shared memory; None: there is none here, or no room."""
        if not self.has_memory():
            return None
        assert self._memory is not None
        try:
            return self._memory.write(parts)
        except OSError:  # the folder is gone: the platform has stopped since, and begun anew
            self._has_asked_for_memory = False
        if not self.has_memory():
            return None
        try:
            return self._memory.write(parts)
        except OSError as error:
            _log.warning("shared memory cannot be written, values go to disk: %s", error)
            return None

    def unshare(self, names: Iterable[str]) -> None:
        """Forget segments that were never told anybody; digests are left out."""
        if self._memory is not None:
            for name in names:
                self._memory.forget(name.removeprefix(SHARED))

    def shared(self, name: str) -> bytearray | memoryview:
        """A whole segment of shared memory, for the caller to keep and change.

        Where the memory is not within reach, by the service. PayloadLostError where it is gone.
        """
        if not self._has_asked_for_memory:
            self._memory = self._found_memory()
            self._has_asked_for_memory = self._memory is not None
        found = None if self._memory is None else self._memory.read(name)
        if found is not None:
            return found
        target = _Memory()
        try:
            self._get(SHARED + name, target)
        except NotFoundError as error:
            raise PayloadLostError(
                "a value that was not durable (durable=False) is gone from the platform's shared"
                f" memory: the machine was started anew, or its result was read already ({name})"
            ) from error
        return target.data

    def _found_memory(self) -> SharedFolder | None:
        from gridloom.segments import SharedFolder

        request = objects_pb2.StatObjectsRequest(shared_memory=True)
        answer = self._connection.call(Call("objects", "StatObjects", request))
        if not answer.HasField("shared_memory"):
            return None
        return SharedFolder.found(answer.shared_memory)

    # ---- how

    def _early_draft(self, view: memoryview) -> LocalDraft | None:
        """Begin to write while the digest is found; not what may well be there already.

        That is the same argument of many calls, or one that a call gives back.
        """
        if self._local is None or not self._is_news(view):
            return None
        return self._local.draft(view)

    def _is_news(self, view: memoryview) -> bool:
        """Whether it is large, and not likely to be there."""
        return view.nbytes >= LEAST_BYTES and not self._known.likely(view.nbytes)

    def _send_named_last(self, view: memoryview) -> str:
        """In chunks, while the digest is found."""
        digest = _Digest(view)

        def parts() -> Iterator[PutPart]:
            yield from _slices(view)
            yield objects_pb2.PutObjectRequest(digest=digest.found())

        answer = self._put(objects_pb2.ObjectRef(size_bytes=view.nbytes), parts)
        self._known.add(answer.object.digest)
        self._known.note(view.nbytes, was_there=answer.existed)
        return answer.object.digest

    def _send_bytes(self, digest: str, view: memoryview, early: LocalDraft | None) -> None:
        """As a file, where the service's folder is within reach, else in chunks."""
        draft = early
        if draft is None and self._local is not None and view.nbytes >= LEAST_BYTES:
            draft = self._local.draft(view)
        if draft is None or not self._send_draft(digest, view.nbytes, draft):
            self._send(digest, view.nbytes, lambda: _slices(view))

    def _send_draft(self, digest: str, size: int, draft: LocalDraft) -> bool:
        """Whether the service has taken it; it says itself what was wrong, given the chunks."""
        try:
            draft.wait()
            self._send(digest, size, lambda: iter(()), draft.name)
        except (OSError, InvalidRequestError):
            # The disk is full, or the platform has begun anew and tidied up.
            return False
        finally:
            draft.discard()
        return True

    def _send(
        self, digest: str, size: int, chunks: Callable[[], Iterator[PutPart]], draft: str = ""
    ) -> None:
        self._put(objects_pb2.ObjectRef(digest=digest, size_bytes=size), chunks, draft)

    def _put(
        self,
        ref: objects_pb2.ObjectRef,
        parts: Callable[[], Iterator[PutPart]],
        draft: str = "",
    ) -> objects_pb2.PutObjectResponse:
        header = objects_pb2.PutObjectRequest.Header(object=ref, holder=self._holder, draft=draft)
        sent = 0

        def requests() -> Iterator[PutPart]:
            nonlocal sent
            yield objects_pb2.PutObjectRequest(header=header)
            for part in parts():
                yield part
                sent += 1

        def send(route: Route) -> objects_pb2.PutObjectResponse:
            put = object_parts.put_object(route.channel)
            answer: objects_pb2.PutObjectResponse = put(
                requests(), metadata=route.endpoint.metadata
            )
            return answer

        return self._connection.transfer(send, lambda: sent)

    def _get(self, digest: str, target: _Memory | _File) -> None:
        def receive(route: Route) -> None:
            request = objects_pb2.GetObjectRequest(digest=digest, offset=target.received)
            get = object_parts.get_object(route.channel)
            stream = get(request, metadata=route.endpoint.metadata)
            try:
                for part in stream:
                    if part.object is not None:
                        target.expect(part.object.size_bytes)
                    target.write(part.chunk)
            finally:
                stream.cancel()

        self._connection.transfer(receive, lambda: target.received)
        self._known.add(digest)


class _Digest:
    """Found by a thread of its own."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._digest = ""
        self._thread = threading.Thread(target=self._work, name="gridloom-digest", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        self._digest = digest_of(self._view)

    def found(self) -> str:
        """It, as soon as it is there."""
        self._thread.join()
        return self._digest


class _Memory:
    """Receives an object into memory that was allocated once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.received = 0

    def expect(self, size: int) -> None:
        """How large the whole will be."""
        if len(self.data) < size:
            self.data = bytearray(size)

    def write(self, chunk: Chunk) -> None:
        """The next bytes."""
        self.data[self.received : self.received + len(chunk)] = chunk
        self.received += len(chunk)


class _File:
    """Receives an object into an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.received = 0

    def expect(self, size: int) -> None:
        """Room for the whole is made now, so that a full disk is found before the transfer."""
        if size > 0 and self.received == 0:
            os.posix_fallocate(self._file.fileno(), 0, size)

    def write(self, chunk: Chunk) -> None:
        """The next bytes."""
        self._file.write(chunk)
        self.received += len(chunk)


def _slices(view: memoryview) -> Iterator[memoryview]:
    for start in range(0, view.nbytes, CHUNK_BYTES):
        yield view[start : start + CHUNK_BYTES]


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
