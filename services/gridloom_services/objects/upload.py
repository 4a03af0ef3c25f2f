"""One object on its way in: what was promised about it is checked as it comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.objects.ref import Sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Executor

    from gridloom.object_parts import Chunk

    from gridloom_services.objects.ref import ObjectRef
    from gridloom_services.objects.store.base import Draft


class Upload:
    """Writes and digests chunks in a thread, while the next one is read from the client."""

    def __init__(self, ref: ObjectRef, draft: Draft, threads: Executor, chunk_limit: int) -> None:
        self._ref = ref
        self._draft = draft
        self._threads = threads
        self._chunk_limit = chunk_limit
        self._sha256 = Sha256()
        self._received = 0

    async def receive(
        self, chunks: AsyncIterator[Chunk], digest: Callable[[], str] | None = None
    ) -> None:
        """Take in all chunks. InvalidRequestError where size or digest are not as promised.

        `digest` gives what was promised where that comes last.
        """
        writing: asyncio.Future[None] | None = None
        try:
            async for chunk in chunks:
                self._count(chunk)
                if writing is not None:
                    await writing
                writing = self._in_thread(chunk)
        finally:
            # The draft must not be closed under a thread that writes to it.
            if writing is not None:
                await asyncio.wait([writing])
        if writing is not None:
            writing.result()
        self._check_whole(self._ref.digest if digest is None else digest())

    def _in_thread(self, chunk: Chunk) -> asyncio.Future[None]:
        return asyncio.get_running_loop().run_in_executor(self._threads, self._take, chunk)

    def _take(self, chunk: Chunk) -> None:
        self._sha256.add(chunk)
        self._draft.write(chunk)

    def _count(self, chunk: Chunk) -> None:
        if len(chunk) > self._chunk_limit:
            raise InvalidRequestError(
                f"a chunk has {len(chunk)} bytes",
                field="chunk",
                given=len(chunk),
                allowed=f"at most {self._chunk_limit} bytes",
            )
        self._received += len(chunk)
        if self._received > self._ref.size_bytes:
            raise self._wrong_size(f"more than the {self._ref.size_bytes} bytes announced came")

    def _check_whole(self, digest: str) -> None:
        if self._received != self._ref.size_bytes:
            raise self._wrong_size(
                f"{self._received} bytes came, {self._ref.size_bytes} were announced"
            )
        if self._sha256.digest != digest:
            raise InvalidRequestError(
                "the content does not have the digest that was announced",
                field="object.digest",
                given=digest,
                allowed=self._sha256.digest,
            )

    def _wrong_size(self, message: str) -> InvalidRequestError:
        return InvalidRequestError(
            message,
            field="object.size_bytes",
            given=self._ref.size_bytes,
            allowed="the content's own size",
        )
