"""Objects: put once, read by anyone who knows the digest, gone when nobody holds or uses them."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from gridloom.values import dataclass

from gridloom_services.common.errors import (
    InvalidRequestError,
    NotFoundError,
    PayloadTooLargeError,
    StorageFullError,
    UnavailableError,
)
from gridloom_services.common.store import GroupCommit
from gridloom_services.objects import catalogue
from gridloom_services.objects.inline import InlineDraft, InlineReader
from gridloom_services.objects.locks import KeyedLocks
from gridloom_services.objects.meters import objects_meters
from gridloom_services.objects.ref import ObjectRef
from gridloom_services.objects.segments import NoSharedMemory, is_segment
from gridloom_services.objects.upload import Upload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from gridloom.object_parts import Chunk

    from gridloom_services.common.cursor import Cursor
    from gridloom_services.common.store import Database
    from gridloom_services.objects.meters import Meters
    from gridloom_services.objects.segments import Memory, Segments
    from gridloom_services.objects.store.base import ContentStore, Draft, LocalFolder, Reader

T = TypeVar("T")

_THREADS = 4
_EXPIRED_AT_ONCE = 500
_SCANNED_AT_ONCE = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """How large, and for how long."""

    max_object_bytes: int
    retention_s: float
    reserve_bytes: int
    inline_bytes: int = 0
    chunk_bytes: int = 1 << 20

    @property
    def granularity_s(self) -> int:
        """A use is written down when the last one is at least this long ago."""
        return int(self.retention_s / 10)


class Objects:
    """All objects: rows and small contents in `database`, other contents in `contents`."""

    def __init__(
        self,
        database: Database,
        contents: ContentStore,
        policy: Policy,
        clock: Callable[[], float] = time.time,
        meters: Meters | None = None,
        segments: Segments | None = None,
    ) -> None:
        self._database = database
        self._commits = GroupCommit(database)
        self._contents = contents
        self._segments = segments or NoSharedMemory()
        self._policy = policy
        self._clock = clock
        self._meters = meters or objects_meters()
        self._threads = ThreadPoolExecutor(_THREADS, "objects")
        # Held while a content gets its row, or is removed: never both at once.
        self._locks = KeyedLocks()
        self._unfinished: set[asyncio.Future[Any]] = set()

    async def close(self) -> None:
        """Wait for what is under way in threads and commits."""
        if self._unfinished:
            await asyncio.wait(self._unfinished)
        await self._commits.join()
        if self._segments.is_open():
            await self._in_thread(self._segments.close, await self._held_segments())
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)

    # ---- in

    async def put(
        self, ref: ObjectRef, chunks: AsyncIterator[Chunk], holder: str = "", left: str = ""
    ) -> bool:
        """Store an object, held by `holder` if one is named; durable when this returns.

        The content is in `chunks`, or in the draft `left` in the folder of the store. True if it
        was there: then neither is looked at. InvalidRequestError where the content is not as `ref`
        says, PayloadTooLargeError, StorageFullError: then nothing is kept.
        """
        if await self._adopt(ref, holder):
            return True
        self._check_size(ref)
        draft = await self._in_thread(self._new_draft, ref, left)
        try:
            if not left:
                await Upload(ref, draft, self._threads, self._policy.chunk_bytes).receive(chunks)
            # From here on it is finished, whether the client still waits or not.
            await self._finished(self._settle(ref, draft, holder))
        finally:
            await self._finished(self._in_thread(draft.discard))
        self._meters.received_bytes.inc(ref.size_bytes)
        return False

    async def put_named_last(
        self, size_bytes: int, chunks: AsyncIterator[Chunk], digest: Callable[[], str], holder: str
    ) -> tuple[ObjectRef, bool]:
        """As `put`, of an object whose digest is known once its chunks have come."""
        unnamed = ObjectRef("", size_bytes)
        self._check_size(unnamed)
        draft = await self._in_thread(self._new_draft, unnamed, "")
        try:
            upload = Upload(unnamed, draft, self._threads, self._policy.chunk_bytes)
            await upload.receive(chunks, digest)
            ref = ObjectRef(digest(), size_bytes)
            existed = await self._adopt(ref, holder)
            if not existed:
                await self._finished(self._settle(ref, draft, holder))
        finally:
            await self._finished(self._in_thread(draft.discard))
        self._meters.received_bytes.inc(size_bytes)
        return ref, existed

    async def _adopt(self, ref: ObjectRef, holder: str) -> bool:
        """Use what is there already, if it is whole."""
        found = await self._database.run(partial(catalogue.find, digests=[ref.digest]))
        if ref.digest not in found:
            return False
        if found[ref.digest].size_bytes != ref.size_bytes:
            raise InvalidRequestError(
                f"{ref.digest} has {found[ref.digest].size_bytes} bytes, not {ref.size_bytes}",
                field="object.size_bytes",
                given=ref.size_bytes,
                allowed=found[ref.digest].size_bytes,
            )
        async with self._locks.holding(ref.digest):
            return await self._is_whole(ref) and not await self.hold(holder, [ref.digest])

    async def _is_whole(self, ref: ObjectRef) -> bool:
        """Nobody has taken its content away."""
        if await self._database.run(partial(catalogue.inline_content, digest=ref.digest)) is None:
            return await self._in_thread(self._contents.size, ref.digest) == ref.size_bytes
        return True

    async def _settle(self, ref: ObjectRef, draft: Draft, holder: str) -> None:
        """Give the content its name, then its row."""
        content = draft.content if isinstance(draft, InlineDraft) else None
        async with self._locks.holding(ref.digest):
            if content is None:
                await self._commit(draft, ref)
            try:
                await self._commits.submit(partial(self._add, ref, holder, content))
            except StorageFullError:
                await self._remove_without_row(ref.digest)
                raise

    async def _commit(self, draft: Draft, ref: ObjectRef) -> None:
        """Have the disk keep it; whoever comes again brings a new draft, and may fare better."""
        try:
            await self._in_thread(draft.commit, ref.digest)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            _log.error("the disk did not keep an object", extra={"error": str(error)})
            raise UnavailableError(
                f"the disk under the object store did not keep an object of {ref.size_bytes}"
                f" bytes ({error.strerror}); nothing was accepted"
            ) from error

    def _add(self, ref: ObjectRef, holder: str, content: bytes | None, cursor: Cursor) -> None:
        catalogue.add(cursor, ref, int(self._clock()), content)
        if holder:
            catalogue.hold(cursor, holder, [ref.digest])

    def _check_size(self, ref: ObjectRef) -> None:
        limit = self._policy.max_object_bytes
        if ref.size_bytes > limit:
            raise PayloadTooLargeError(
                f"an object of {ref.size_bytes} bytes is over the limit of {limit}",
                field="object.size_bytes",
                given=ref.size_bytes,
                allowed=f"at most {limit} bytes",
            )

    def local(self) -> LocalFolder | None:
        """Return where processes of this machine and user reach contents themselves."""
        return self._contents.local()

    @property
    def reserve_bytes(self) -> int:
        """How much of the disk no put may take."""
        return self._policy.reserve_bytes

    def _new_draft(self, ref: ObjectRef, left: str) -> Draft:
        free = self._contents.free_bytes()
        wanted = 0 if left else ref.size_bytes
        if free is not None and free < wanted + self._policy.reserve_bytes:
            raise StorageFullError(
                f"no room for an object of {ref.size_bytes} bytes: {free} are free, of which"
                f" {self._policy.reserve_bytes} are kept for the platform itself",
                free=free,
                asked=ref.size_bytes,
            )
        if left:
            return self._left_draft(ref, left)
        return InlineDraft() if self._is_small(ref) else self._contents.draft()

    def _left_draft(self, ref: ObjectRef, left: str) -> Draft:
        try:
            return self._contents.left(left, ref.size_bytes)
        except OSError as error:
            raise InvalidRequestError(
                f"there is no draft {left[:64]!r} of {ref.size_bytes} bytes",
                field="header.draft",
                given=left[:64],
                allowed="a whole file that was left in the folder of drafts",
            ) from error

    def _is_small(self, ref: ObjectRef) -> bool:
        return ref.size_bytes <= self._policy.inline_bytes

    # ---- out

    async def find(self, digests: Sequence[str]) -> list[ObjectRef | None]:
        """Each of them, or None; what exists counts as used now."""
        now = int(self._clock())

        def look(cursor: Cursor) -> dict[str, ObjectRef]:
            found = catalogue.find(cursor, digests)
            catalogue.touch(cursor, list(found), now, now - self._policy.granularity_s)
            return found

        found = await self._commits.submit(look)
        return [found.get(digest) for digest in digests]

    @asynccontextmanager
    async def reading(
        self, digest: str, offset: int = 0, length: int = 0
    ) -> AsyncIterator[tuple[ObjectRef, AsyncIterator[bytes]]]:
        """An object and its bytes from `offset` on, `length` of them or (0) all.

        NotFoundError if it does not exist, InvalidRequestError for a range beyond its end.
        """
        reader: Reader | None = None
        if is_segment(digest):
            ref, reader = await self._open_segment(digest)
        else:
            (ref,) = await self.find([digest])
        if ref is None:
            raise NotFoundError(f"there is no object {digest}", field="digest", given=digest)
        if not 0 <= offset <= ref.size_bytes or length < 0:
            raise InvalidRequestError(
                f"{digest} has {ref.size_bytes} bytes; none at {offset}",
                field="offset",
                given=offset,
                allowed=f"0 to {ref.size_bytes}",
            )
        reader = reader or await self._opened(ref)
        end = min(ref.size_bytes, offset + length) if length else ref.size_bytes
        try:
            async with aclosing(self._chunks(reader, offset, end)) as chunks:
                yield ref, chunks
        finally:
            await self._finished(self._in_thread(reader.close))

    async def _opened(self, ref: ObjectRef) -> Reader:
        content = await self._database.run(partial(catalogue.inline_content, digest=ref.digest))
        if content is not None:
            return InlineReader(content)
        try:
            return await self._in_thread(self._contents.reader, ref.digest)
        except FileNotFoundError:
            # Somebody has removed the bytes behind our back: it can be put again.
            _log.exception("content is gone", extra={"digest": ref.digest})
            await self._commits.submit(partial(catalogue.forget, digests=[ref.digest]))
            raise NotFoundError(
                f"the content of {ref.digest} is gone from the store", field="digest"
            ) from None

    async def _chunks(self, reader: Reader, start: int, end: int) -> AsyncGenerator[bytes]:
        """Read one chunk ahead of the one that is being sent."""
        ahead = self._read(reader, start, end)
        try:
            while start < end:
                chunk = await ahead
                if not chunk:
                    raise OSError("the content is shorter than its row says")
                start += len(chunk)
                ahead = self._read(reader, start, end)
                self._meters.sent_bytes.inc(len(chunk))
                yield chunk
        finally:
            # The reader must not be closed under a thread that reads.
            await asyncio.wait([ahead])

    def _read(self, reader: Reader, start: int, end: int) -> asyncio.Future[bytes]:
        return self._in_thread(reader.read, start, min(self._policy.chunk_bytes, end - start))

    # ---- for how long

    async def hold(self, holder: str, names: Sequence[str]) -> list[str]:
        """Keep them until `release(holder)`; those that do not exist. No holder: used now."""
        now = int(self._clock())
        digests = [name for name in names if not is_segment(name)]
        segments = [name for name in names if is_segment(name)]
        if segments:
            missing = await self._hold_segments(holder, segments)
            return missing + (await self.hold(holder, digests) if digests else [])

        def keep(cursor: Cursor) -> list[str]:
            if holder:
                return catalogue.hold(cursor, holder, digests)
            found = catalogue.find(cursor, digests)
            catalogue.touch(cursor, list(found), now, now - self._policy.granularity_s)
            return [digest for digest in digests if digest not in found]

        return await self._commits.submit(keep)

    async def release(self, holder: str) -> None:
        """Let go of all that the holder keeps. What nobody else holds goes by age from now on."""
        now = int(self._clock())
        release = partial(catalogue.release, holder=holder, now_s=now)
        segments = await self._commits.submit(release)
        if segments:
            await self._in_thread(self._segments.retire, segments)

    async def sweep(self) -> int:
        """Remove what nobody holds and nobody has used for the time of retention; how many."""
        before = int(self._clock() - self._policy.retention_s)
        count = 0
        while await self._database.run(partial(catalogue.any_expired, before_s=before)):
            expire = partial(catalogue.expire, before_s=before, limit=_EXPIRED_AT_ONCE)
            digests = await self._commits.submit(expire)
            await self.remove_litter(digests)
            self._meters.removed.inc(len(digests))
            count += len(digests)
        await self._in_thread(self._contents.tidy)
        return count

    async def scan(self) -> int:
        """Remove contents without a row: of puts and removals that a crash cut short; how many."""
        every = await self._in_thread(lambda: list(self._contents.digests()))
        count = 0
        for start in range(0, len(every), _SCANNED_AT_ONCE):
            count += await self.remove_litter(every[start : start + _SCANNED_AT_ONCE])
        return count

    async def remove_litter(self, digests: Sequence[str]) -> int:
        """Remove those contents among them that have no row; how many."""
        known = await self._database.run(partial(catalogue.find, digests=digests))
        litter = [digest for digest in digests if digest not in known]
        for digest in litter:
            async with self._locks.holding(digest):
                await self._remove_without_row(digest)
        return len(litter)

    async def _remove_without_row(self, digest: str) -> None:
        """For who holds the digest's lock."""
        if not await self._database.run(partial(catalogue.find, digests=[digest])):
            await self._in_thread(self._contents.remove, digest)

    # ---- what need not be durable

    async def memory(self) -> Memory | None:
        """Return where processes of this machine and user leave segments themselves."""
        return await self._in_thread(self._segments.memory)

    async def resume_segments(self) -> None:
        """Take up the segments that were there before a start."""
        await self._in_thread(self._segments.resume)

    async def tidy_segments(self) -> int:
        """Give back those that nobody needs; how many."""
        if not self._segments.is_open():
            return 0
        return await self._in_thread(self._segments.tidy, await self._held_segments())

    async def _held_segments(self) -> set[str]:
        names = await self._in_thread(self._segments.names)
        if not names:
            return set()
        return await self._database.run(partial(catalogue.held, names=names))

    async def _hold_segments(self, holder: str, names: Sequence[str]) -> list[str]:
        sizes = await self._in_thread(lambda: [self._segments.size(name) for name in names])
        there = [name for name, size in zip(names, sizes, strict=True) if size is not None]
        if there:
            await self._commits.submit(partial(catalogue.hold_segments, holder=holder, names=there))
        return [name for name in names if name not in there]

    async def _open_segment(self, name: str) -> tuple[ObjectRef | None, Reader | None]:
        found = await self._in_thread(self._segments.reader, name)
        return (None, None) if found is None else (ObjectRef(name, found[1]), found[0])

    # ---- how

    async def _finished(self, work: Awaitable[T]) -> T:
        """Do it to its end, also when the caller is cancelled meanwhile."""
        task = asyncio.ensure_future(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return await asyncio.shield(task)

    def _in_thread(self, work: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
