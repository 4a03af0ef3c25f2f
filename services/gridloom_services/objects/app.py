"""The composition root: the only place that names concrete parts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom_services.common.app import methods
from gridloom_services.common.background import Background
from gridloom_services.common.store import Database
from gridloom_services.objects.meters import objects_meters
from gridloom_services.objects.objects import Objects, Policy
from gridloom_services.objects.schema import SCHEMA
from gridloom_services.objects.segments import NoSharedMemory, SharedMemory
from gridloom_services.objects.service import ObjectsServicer

if TYPE_CHECKING:
    import grpc

    from gridloom_services.common.app import PlatformContext
    from gridloom_services.objects.segments import Segments
    from gridloom_services.objects.settings import ObjectsSettings
    from gridloom_services.objects.store.base import ContentStore

SERVICE = "gridloom.api.objects.v1.ObjectsService"

# Rows are few and small here: the log between checkpoints may be short.
_WAL_BYTES = 1 << 20

# How often shared memory is looked through, where anybody has used it.
_TIDY_S = 5.0

_log = logging.getLogger(__name__)


async def build(context: PlatformContext, settings: ObjectsSettings) -> ObjectsApp:
    """Open the stores and compose the service."""
    contents = _contents(context, settings)
    contents.open()
    url = context.database_url("objects", settings.database_url)
    database = await Database.open(
        url, SCHEMA, wal_bytes=_WAL_BYTES, sole=True, patience_s=context.start_patience_s
    )
    policy = Policy(
        max_object_bytes=settings.max_object_bytes,
        retention_s=settings.retention_s,
        reserve_bytes=settings.reserve_bytes,
        inline_bytes=settings.inline_bytes,
        chunk_bytes=context.limits.chunk,
    )
    objects = Objects(
        database,
        contents,
        policy,
        meters=objects_meters(context.metrics),
        segments=_segments(context, settings),
    )
    return ObjectsApp(database, objects, settings.sweep_every_s)


def _contents(context: PlatformContext, settings: ObjectsSettings) -> ContentStore:
    """The store of bytes; its module is imported when chosen.

    A folder is a folder, also one on a shared volume: it is written as durably as our own.
    """
    scheme, _, rest = settings.store_url.partition("://")
    if scheme in {"", "file"}:
        from gridloom_services.objects.store.files import LocalFiles

        return LocalFiles(Path(rest) if rest else context.folder("objects"))
    from gridloom_services.objects.store.remote import FsspecContents

    return FsspecContents(settings.store_url, context.folder("objects") / "drafts")


def _segments(context: PlatformContext, settings: ObjectsSettings) -> Segments:
    """Memory that processes of this machine share with us, where there is any."""
    folder = Path(settings.memory_folder)
    if not settings.memory_folder or not settings.memory_share or not folder.is_dir():
        return NoSharedMemory()
    return SharedMemory(folder, context.folder("objects"), settings.memory_share)


class ObjectsApp:
    """The objects service in a process."""

    name = "objects"
    grpc_services = (SERVICE,)
    gang_methods = methods(SERVICE, "PutObject", "GetObject", "StatObjects", "HoldObjects")

    def __init__(self, database: Database, objects: Objects, sweep_every_s: float) -> None:
        self._database = database
        self._objects = objects
        self._sweep_every_s = sweep_every_s
        self._background = Background()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        ObjectsServicer(self._objects).add_to(server)

    async def start(self) -> None:
        """Begin to clean up, in the background."""
        self._background.start(self._scan(), "scan for litter")
        self._background.repeat(self._sweep, self._sweep_every_s, "sweep")
        await self._objects.resume_segments()
        self._background.repeat(self._objects.tidy_segments, _TIDY_S, "tidy shared memory")

    async def drain(self) -> None:
        """Puts and gets that are under way come to their end by themselves."""

    async def stop(self) -> None:
        """Stop cleaning, finish what is being stored, close."""
        await self._background.close()
        await self._objects.close()
        await self._database.close()

    def is_idle(self) -> bool:
        """Objects wait for nothing; who puts or reads one is a caller."""
        return True

    async def _scan(self) -> None:
        if litter := await self._objects.scan():
            _log.info("removed contents that a crash had left", extra={"count": litter})

    async def _sweep(self) -> None:
        if removed := await self._objects.sweep():
            _log.info("removed objects that nobody held", extra={"count": removed})
