"""The composition root: the only place that names concrete parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.scheduler.v1 import scheduler_pb2_grpc

from gridloom_services.common.app import methods
from gridloom_services.common.background import Background
from gridloom_services.common.errors import FolderInUseError
from gridloom_services.common.store import Database
from gridloom_services.scheduler.access.reach import GANG_METHODS
from gridloom_services.scheduler.access_app import ACCESS_SERVICE, GANG_ACCESS_METHODS, AccessPart
from gridloom_services.scheduler.archive import LogArchive
from gridloom_services.scheduler.clock import SECOND_US, SystemClock, now_us
from gridloom_services.scheduler.control import Control, Surroundings
from gridloom_services.scheduler.declared import bring_about, declared_projects
from gridloom_services.scheduler.inputs import Inputs
from gridloom_services.scheduler.logs import LogReader
from gridloom_services.scheduler.metrics import SchedulerMetrics
from gridloom_services.scheduler.objects_client import ObjectsClient
from gridloom_services.scheduler.retention import Retention, forget_history
from gridloom_services.scheduler.runtime.chosen import chosen_runtime
from gridloom_services.scheduler.runtime.local import RootInUseError
from gridloom_services.scheduler.service import SchedulerServicer
from gridloom_services.scheduler.store.schema import SCHEMA
from gridloom_services.scheduler.store.sql import SqlStore

if TYPE_CHECKING:
    from pathlib import Path

    import grpc

    from gridloom_services.common.app import PlatformContext
    from gridloom_services.common.auth import Principal
    from gridloom_services.scheduler.job import Job, LiveGang
    from gridloom_services.scheduler.runtime.base import Runtime
    from gridloom_services.scheduler.settings import SchedulerSettings

SERVICE = "gridloom.api.scheduler.v1.SchedulerService"

_DAY_S = 24 * 3600


async def build(context: PlatformContext, settings: SchedulerSettings) -> SchedulerApp:
    """Open the store and compose the service."""
    url = context.database_url("scheduler", settings.database_url)
    database = await Database.open(url, SCHEMA, sole=True, patience_s=context.start_patience_s)
    store = await SqlStore.open(database)
    folder = context.folder("scheduler")
    objects = ObjectsClient(context.channels)
    runtime = chosen_runtime(settings, objects, folder)
    return SchedulerApp(context, settings, database, store, runtime, objects, folder / "logs")


class SchedulerApp:
    """The scheduler in a process."""

    name = "scheduler"
    grpc_services = (SERVICE, ACCESS_SERVICE)
    gang_methods = methods(SERVICE, *GANG_METHODS) | methods(ACCESS_SERVICE, *GANG_ACCESS_METHODS)

    def __init__(
        self,
        context: PlatformContext,
        settings: SchedulerSettings,
        database: Database,
        store: SqlStore,
        runtime: Runtime,
        objects: ObjectsClient,
        logs_folder: Path,
    ) -> None:
        self._context = context
        self._settings = settings
        self._database = database
        self._store = store
        self._runtime = runtime
        self._background = Background()
        self._clock = SystemClock()
        archive = LogArchive(logs_folder, store, objects)
        self._control = Control(self._surroundings(archive, Inputs(objects)))
        logs = LogReader(self._control, store, runtime, archive)
        self._retention = Retention(
            store,
            objects,
            archive,
            self._clock,
            self._awaited,
            keep_s=settings.keep_jobs_days * _DAY_S,
            most=settings.keep_jobs,
        )
        self._servicer = SchedulerServicer(self._control, runtime, logs)
        self._access = AccessPart(context, database, settings.audit_days, self._control.is_live)

    def _surroundings(self, archive: LogArchive, inputs: Inputs) -> Surroundings:
        return Surroundings(
            store=self._store,
            runtime=self._runtime,
            archive=archive,
            inputs=inputs,
            background=self._background,
            clock=self._clock,
            metrics=SchedulerMetrics(self._context.metrics),
            issue_token=self._token,
            address=self._context.address,
            on_fatal=self._fatal,
            spare_devices=self._settings.spare_devices,
        )

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server(self._servicer, server)
        self._access.add_to(server)

    async def start(self) -> None:
        """Adopt what runs, and begin to schedule."""
        try:
            await self._runtime.open()
        except RootInUseError as error:
            raise FolderInUseError(str(error)) from error
        await self._access.start(self._background)
        declared = declared_projects(self._settings.projects)
        await self._control.start()
        await self._control.change_projects(
            lambda projects: bring_about(declared, projects, self._control.core.queues)
        )
        self._context.gang_tokens.set_liveness(self._is_alive)
        self._background.repeat(self._forget_history, _DAY_S, "forget old history")
        every_s = self._settings.prune_every_s
        self._background.repeat(self._retention.sweep, every_s, "remove old jobs")

    async def drain(self) -> None:
        """End open streams; their readers come again."""
        self._servicer.draining.set()

    async def stop(self) -> None:
        """Let go: jobs go on under their supervisors."""
        await self._control.stop()
        await self._background.close()
        await self._runtime.close()
        await self._access.stop()
        await self._database.close()

    def is_idle(self) -> bool:
        """Nothing waits or runs; a platform that ends by itself must leave no process behind."""
        return self._control.is_idle()

    def _token(self, job: Job, live: LiveGang) -> str:
        array = job.spec.array
        return self._context.gang_tokens.issue(
            job.id,
            live.attempt,
            job.spec.project,
            None if array is None else array.number(live.element),
            job.time_limit_s + _DAY_S,
            owner=job.owner,
        )

    def _is_alive(self, principal: Principal) -> bool:
        """Say whether the attempt that a token was made for still runs."""
        return self._control.is_live(principal.job_id, principal.element, principal.attempt)

    def _awaited(self) -> frozenset[str]:
        """Return the jobs that others wait for."""
        return self._control.core.awaited()

    async def _forget_history(self) -> None:
        before_us = now_us(self._clock) - round(self._settings.history_days * _DAY_S * SECOND_US)
        await forget_history(self._store, before_us)

    def _fatal(self, error: BaseException) -> None:
        self._context.stop.fail(f"the scheduler cannot go on: {error}")
