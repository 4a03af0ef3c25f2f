"""The composition root: the only place that names concrete parts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gridloom import ids
from gridloom.api.functions.v1 import functions_pb2_grpc, worker_pb2
from gridloom.version import VERSION

from gridloom_services.common.app import methods
from gridloom_services.common.background import Background
from gridloom_services.common.errors import UnavailableError
from gridloom_services.common.worker_images import worker_images
from gridloom_services.functions.attendance import Attendance
from gridloom_services.functions.desk import Desk
from gridloom_services.functions.holds import Holds, RemoteObjects
from gridloom_services.functions.limits import CallLimits
from gridloom_services.functions.metrics import CallMetrics
from gridloom_services.functions.pools.pools import Pools
from gridloom_services.functions.pools.scheduler_jobs import SchedulerPoolJobs
from gridloom_services.functions.pools.wire import spec_of_body
from gridloom_services.functions.reading import Readings
from gridloom_services.functions.recovery import restore
from gridloom_services.functions.retention import Retention
from gridloom_services.functions.service import FunctionsServicer
from gridloom_services.functions.sharing import Sharing
from gridloom_services.functions.store.sql import SqlCallStore
from gridloom_services.functions.workers.link import Reception
from gridloom_services.functions.workers.sockets import SocketServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

    from gridloom_services.common.app import PlatformContext
    from gridloom_services.functions.dispatch import PoolQueue
    from gridloom_services.functions.holds import ObjectDoor
    from gridloom_services.functions.pools.jobs import PoolJobs
    from gridloom_services.functions.settings import FunctionsSettings
    from gridloom_services.functions.store.base import CallStore

SERVICE = "gridloom.api.functions.v1.FunctionsService"

_IMAGES = "GRIDLOOM_FUNCTIONS_WORKER_IMAGES"
_TICK_S = 1.0
_TOUCH_S = 600.0


async def build(context: PlatformContext, settings: FunctionsSettings) -> FunctionsApp:
    """Compose the service."""
    url = context.database_url("functions", settings.database_url)
    surroundings: dict[str, str] = {}
    jobs = SchedulerPoolJobs(context.channels, lambda: surroundings)
    objects = RemoteObjects(context.channels)
    store = SqlCallStore(url, sole=True, patience_s=context.start_patience_s)
    return FunctionsApp(context, settings, store, jobs, objects, surroundings)


class FunctionsApp:
    """The functions service in a process."""

    name = "functions"
    grpc_services = (SERVICE,)
    gang_methods = methods(
        SERVICE,
        "OpenSession",
        "ServeCalls",
        "GetCall",
        "GetGroup",
        "ReadResults",
        "ReadOutput",
        "CancelCalls",
    )

    def __init__(
        self,
        context: PlatformContext,
        settings: FunctionsSettings,
        store: CallStore,
        jobs: PoolJobs,
        objects: ObjectDoor,
        surroundings: dict[str, str],
    ) -> None:
        """`surroundings` is filled with what pools' processes must be told to find us."""
        self._context = context
        self._settings = settings
        self._store = store
        self._surroundings = surroundings
        self._metrics = CallMetrics(context.metrics)
        limits = CallLimits(
            version=VERSION,
            window_calls=settings.window_calls,
            window_bytes=settings.window_bytes,
            inline_limit_bytes=settings.inline_limit_bytes,
            payload_limit_bytes=settings.payload_limit_bytes,
        )
        self.desk = Desk(store, limits, self._metrics)
        self.desk.cycle.hold_s = settings.hold_us / 1e6
        self.pools = Pools(
            jobs,
            self.desk.floor,
            self.desk.save_pool,
            lambda: ids.new_id("pool"),
            objects,
            default_workers=settings.workers,
            images=worker_images(settings.worker_images, _IMAGES),
        )
        self.desk.floor.pools = self.pools
        self._holds = Holds(objects, self._forget_holds)
        self._hub = self.desk.make_hub()
        self._sharing = Sharing(self._hub)
        self._reception = Reception(self._hub, context.gang_tokens.verify, self._welcome)
        self.socket = SocketServer(self._reception, context.folder("functions"))
        self._attendance = Attendance(settings.client_patience_s, self.desk.clock)
        readings = Readings(self.desk, self._attendance)
        self._servicer = FunctionsServicer(self.desk, readings, self.pools, self._reception)
        self._background = Background()
        self._is_open = False

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        functions_pb2_grpc.add_FunctionsServiceServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """Open the store, take up what is unfinished, let workers in."""
        self.desk.epoch = await self._store.open()
        self._is_open = True
        found = await self._store.recover()
        self.pools.load((row, spec_of_body(row.body)) for row in found.pools)
        restore(self.desk, found)
        self._attendance.begin()
        self._holds.add(found.holds, found.released)
        watchers = (self.desk, self.desk.sessions, self._holds)
        self.desk.cycle.start(self._hub, self._pumped, *watchers)
        await self._let_workers_in()
        self._background.start(self.pools.run(), "pools")
        self._background.start(self._holds.run(), "holds")
        self._background.start(self._retention().run(), "retention")
        self._background.start(self._tick(), "tick")

    async def _let_workers_in(self) -> None:
        """The processes of pools are told the way; those that come by streams find the server."""
        if self._settings.worker_transport == "socket":
            await self.socket.start()
            self._surroundings["GRIDLOOM_FUNCTIONS_SOCKET"] = str(self.socket.path)
        elif self._settings.worker_address:
            self._surroundings["GRIDLOOM_FUNCTIONS_ADDRESS"] = self._settings.worker_address

    def _retention(self) -> Retention:
        settings = self._settings
        return Retention(
            self._store,
            self._holds,
            settings.retention_s,
            settings.prune_every_s,
            self.desk.clock,
        )

    async def drain(self) -> None:
        """Clients come back when the service does; what they sent is on disk before they go."""
        await self.desk.cycle.flushed()
        self.desk.end_streams(UnavailableError("the platform is stopping", retry_after_s=0.5))
        if self._settings.worker_transport == "stream":
            # Else the server would wait for them; on their socket workers go on until the end.
            self._hub.close()
            self._reception.close()

    async def stop(self) -> None:
        """Let go. Every call that has no result yet is on disk, and begins anew at the next start.

        Where there is nothing to do, pools end with the service: the next call brings another.
        Else they end too where the settings say so, now: what runs would be answered to nobody.
        Where they do not, workers go on and wait for the next start, which takes them on.
        """
        await self._background.close()
        self._sharing.close()
        is_busy = bool(self.desk.ledger.unfinished)
        if self._settings.ends_pools or not is_busy:
            self._hub.send_home(at_once=is_busy)
        self._hub.close()
        await self.socket.stop()
        await self.desk.close()
        if self._is_open:
            await self._store.close()

    def is_idle(self) -> bool:
        """No call is unfinished, no client is connected."""
        return not self.desk.ledger.unfinished and not self.desk.streams

    # ---- small links between the parts

    def _pumped(self, pool: PoolQueue) -> None:
        self.desk.floor.pumped(pool)
        self._sharing.pumped(pool)

    def _welcome(self) -> worker_pb2.WorkerWelcome:
        return worker_pb2.WorkerWelcome(
            epoch=self.desk.epoch,
            inline_limit_bytes=self._settings.inline_limit_bytes,
            payload_limit_bytes=self._settings.payload_limit_bytes,
        )

    def _forget_holds(self, calls: Iterable[int]) -> None:
        self.desk.ledger.changes.holds_over.extend(calls)
        self.desk.cycle.poke()

    async def _tick(self) -> None:
        """What is worth a look once a second, and what is worth one rarely."""
        touched_at = self.desk.now()
        while True:
            await asyncio.sleep(_TICK_S)
            self._hub.give_up_hung(self._settings.hung_after_s)
            self.desk.floor.tick()
            self._metrics.observe(self.desk)
            if self.desk.now() - touched_at > _TOUCH_S:
                touched_at = self.desk.now()
                self.desk.sessions.sweep()
                for stream in self.desk.streams.values():
                    self.desk.ledger.touch(stream.session)
                self.desk.cycle.poke()
