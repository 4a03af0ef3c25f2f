"""Gangs as pods of a Kubernetes cluster.

Each gang is an object of its own (a ConfigMap) that holds what must not be lost and owns all else:
the pods, a secret with the gang's token, and a headless Service where there are several pods. What
the runtime has in memory it can find again there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from typing import TYPE_CHECKING

from gridloom_services.common.errors import StartError
from gridloom_services.scheduler.runtime.base import (
    Feature,
    GangActiveError,
    GangNotFoundError,
    LogChunk,
    LogStream,
)
from gridloom_services.scheduler.runtime.board import StatusBoard
from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.api import (
    ApiError,
    KubernetesApi,
    load_configuration,
)
from gridloom_services.scheduler.runtime.kubernetes.containers import COMMAND
from gridloom_services.scheduler.runtime.kubernetes.fruit import Fruit
from gridloom_services.scheduler.runtime.kubernetes.informer import Informer
from gridloom_services.scheduler.runtime.kubernetes.life import GangLife, Workshop
from gridloom_services.scheduler.runtime.kubernetes.namespace import JobNamespace
from gridloom_services.scheduler.runtime.kubernetes.nodes import (
    ClusterNodes,
    keep_job_pod,
    keep_node,
    unit_of,
)
from gridloom_services.scheduler.runtime.kubernetes.permissions import check_permissions
from gridloom_services.scheduler.runtime.kubernetes.record import (
    Stop,
    read_record,
    stop_change,
    units_change,
)
from gridloom_services.scheduler.runtime.kubernetes.report import (
    container_state,
    ending_of,
    pod_is_over,
)
from gridloom_services.scheduler.runtime.kubernetes.streams import live_piece, run_in
from gridloom_services.scheduler.runtime.kubernetes.units import (
    check_placement,
    first_units,
    resized,
    units_to_text,
)
from gridloom_services.scheduler.runtime.streams import read_stream
from gridloom_services.scheduler.runtime.units import members

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
    from pathlib import Path

    from gridloom_services.scheduler.runtime.base import (
        ExecChunk,
        Gang,
        NodeCapacity,
        ObjectsDoor,
        Placement,
        ReplicaStatus,
        StoredStream,
    )
    from gridloom_services.scheduler.runtime.kubernetes.api import Object
    from gridloom_services.scheduler.runtime.kubernetes.plan import KubernetesSettings
    from gridloom_services.scheduler.runtime.units import Unit

_log = logging.getLogger(__name__)

_ALIVE = "status.phase!=Succeeded,status.phase!=Failed"
_LONGEST_WAIT_S = 20.0
_FOLLOW_PAUSE_S = 0.2
# Changes of nodes come in bursts.
_SETTLE_S = 0.2


class ClusterError(StartError):
    """The cluster does not answer, or does not know us."""


class KubernetesRuntime:
    """Keeps the promises of `Runtime` on a cluster.

    `spool` is a folder for streams that are being read. It must be opened, used and closed on one
    event loop, and be the only one of its kind in the namespace (the scheduler has one leader).
    """

    # A pod's programs read nothing: it is refused at submit rather than left out.
    features = frozenset(Feature) - {Feature.STDIN}

    def __init__(self, settings: KubernetesSettings, objects: ObjectsDoor, spool: Path) -> None:
        self._settings = settings
        self._spool = spool
        self._board = StatusBoard()
        self._nodes = ClusterNodes(settings.namespace, settings.flavours, settings.pods.lost_node_s)
        self._fruit = Fruit(objects, spool)
        self._gangs: dict[str, GangLife] = {}
        self._starting: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._capacity_changed = asyncio.Event()
        self._api: KubernetesApi | None = None
        self._shop: Workshop | None = None

    # ---- opening and closing

    async def open(self) -> None:
        """Check what is allowed, find what is there, and take up every life.

        ClusterError: no way to it. MissingPermissionError, AnchorMissingError.
        """
        await asyncio.to_thread(_empty, self._spool)
        settings = self._settings
        try:
            configuration = await load_configuration(settings.kubeconfig, settings.context)
            self._api = api = KubernetesApi(configuration)
            pods = settings.pods
            await check_permissions(api, settings.namespace, with_policies=pods.network_policies)
            namespace = JobNamespace(api, settings.namespace, pods)
            await namespace.find_anchor(settings.anchor)
            self._shop = Workshop(
                settings=settings,
                namespace=namespace,
                nodes=self._nodes,
                board=self._board,
                fruit=self._fruit,
                making=asyncio.Semaphore(settings.creates_at_once),
            )
            await self._adopt(self._shop)
        except ApiError as error:
            await self.close()
            raise ClusterError(f"the cluster cannot be used: {error}") from error
        except BaseException:
            await self.close()
            raise

    async def _adopt(self, shop: Workshop) -> None:
        """Gangs first, then their pods: a pod whose gang is not known is on its way out."""
        for owner in await shop.namespace.gangs():
            record = read_record(owner)
            self._gangs[record.gang.name] = GangLife(shop, record)
        informers = self._informers(shop)
        await asyncio.gather(*(informer.list() for informer in informers))
        for informer in informers:
            self._spawn(informer.run())
        self._spawn(self._watch_nodes())
        for life in self._gangs.values():
            self._spawn(life.run())

    def _informers(self, shop: Workshop) -> tuple[Informer, ...]:
        api, nodes = self.api, self._nodes
        return (
            Informer(api, "/api/v1/nodes", {}, nodes.saw_node, nodes.lost_node, keep_node),
            # What others claim; our own pods come only by the last, once.
            Informer(
                api,
                "/api/v1/pods",
                {"fieldSelector": f"metadata.namespace!={shop.namespace.namespace},{_ALIVE}"},
                nodes.saw_pod,
                nodes.lost_pod,
                nodes.keep_pod,
            ),
            Informer(
                api,
                f"{shop.namespace.path}/pods",
                {"fieldSelector": _ALIVE, "labelSelector": f"!{names.GANG}"},
                nodes.saw_pod,
                nodes.lost_pod,
                nodes.keep_pod,
            ),
            Informer(
                api,
                f"{shop.namespace.path}/pods",
                {"labelSelector": names.SELECTOR},
                self._saw_pod,
                self._lost_pod,
                keep_job_pod,
            ),
        )

    async def close(self) -> None:
        """Let go; pods go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._board.close()
        if self._api is not None:
            await self._api.close()

    @property
    def api(self) -> KubernetesApi:
        """The API server. Only while the runtime is open."""
        assert self._api is not None
        return self._api

    def _saw_pod(self, pod: Object) -> None:
        gang, unit = unit_of(pod)
        if gang in self._gangs:
            self._gangs[gang].saw(unit, pod)

    def _lost_pod(self, pod: Object) -> None:
        gang, unit = unit_of(pod)
        if gang in self._gangs:
            self._gangs[gang].lost(unit, pod)

    async def _watch_nodes(self) -> None:
        """Let gangs look whether their nodes are still there."""
        while True:
            await self._nodes.changed.wait()
            await asyncio.sleep(_SETTLE_S)
            self._nodes.changed.clear()
            self._capacity_changed.set()
            for life in self._gangs.values():
                life.poke()

    # ---- verbs

    async def start(self, gang: Gang, placement: Placement) -> None:
        """Write the gang down in the cluster, then bring its pods about. ValueError, ApiError."""
        async with self._starting.setdefault(gang.name, asyncio.Lock()):
            if gang.name in self._gangs:
                return
            check_placement(gang, placement, self._nodes.names)
            assert self._shop is not None
            units = first_units(gang, placement)
            owner = await self._shop.namespace.make_gang(gang, units)
            record = read_record(owner)
            # The token is nowhere but here and in its secret; no pod was made before this.
            record.gang, record.made = gang, set()
            life = self._gangs[gang.name] = GangLife(self._shop, record)
            try:
                # So that a crash finds few gangs between their object and their pods.
                await life.begin()
            finally:
                self._spawn(life.run())
        self._starting.pop(gang.name, None)

    async def resize(self, name: str, role: str, assignments: Placement) -> None:
        """Write down what is wanted, then bring it about."""
        life = self._known(name)
        async with life.turn:
            record = life.record
            if life.is_over or record.stop is not None:
                self._board.came_too_late(name, assignments, members(record.units))
                return
            check_placement(record.gang, assignments, self._nodes.names)
            units = resized(record.units, record.gang.role(role), assignments)
            stop = Stop(self._settings.pods.grace_s, "taken away by a resize")
            stops = {
                unit.name: stop
                for unit in units.values()
                if not unit.wanted and unit.name not in record.unit_stops
            }
            if units != record.units or stops:
                change = units_change(units_to_text(units), stops)
                await life.shop.namespace.change_gang(name, change)
                record.units = units
                record.unit_stops.update(stops)
        life.poke()

    async def stop(self, name: str, grace_s: float, reason: str) -> None:
        """Write down that it is to end, then have its pods told."""
        life = self._known(name)
        async with life.turn:
            if life.is_over:
                return
            before, asked = life.record.stop, Stop(grace_s, reason)
            wanted = before.merged(asked) if before else asked
            if wanted != before:
                await life.shop.namespace.change_gang(name, stop_change(wanted))
                life.record.stop = wanted
        life.poke()

    async def forget(self, name: str) -> None:
        """Take the gang's object away; the cluster takes the rest."""
        life = self._gangs.get(name)
        if life is None:
            return
        async with life.turn:
            if not life.is_over:
                raise GangActiveError(f"{name} has replicas that have not ended")
            await life.shop.namespace.remove_gang(name)
            self._gangs.pop(name, None)
            self._board.remove(name)
        await asyncio.to_thread(shutil.rmtree, self._spool / name, ignore_errors=True)

    async def names(self) -> frozenset[str]:
        """The gangs that have an object."""
        return frozenset(self._gangs)

    def watch(self) -> AsyncIterator[ReplicaStatus]:
        """Present statuses, then changes."""
        return self._board.watch()

    async def capacity(self) -> tuple[NodeCapacity, ...]:
        """The nodes for jobs, without what others have claimed on them."""
        return self._nodes.capacity()

    async def capacity_changed(self) -> None:
        """Return when nodes or what others claim have changed since the last time."""
        await self._capacity_changed.wait()
        self._capacity_changed.clear()

    # ---- streams

    async def logs(
        self,
        name: str,
        role: str,
        index: int,
        stream: LogStream,
        offset: int = 0,
        limit: int = 65536,
        wait_s: float = 0.0,
    ) -> LogChunk:
        """Read a unit's stream: by its sidecar while it runs, from the object store afterwards."""
        life, unit = self._unit(name, role, index)
        deadline = asyncio.get_running_loop().time() + wait_s
        while True:
            left_s = max(0.0, deadline - asyncio.get_running_loop().time())
            chunk = await self._chunk(life, unit, stream, offset, limit, left_s)
            if chunk.data or chunk.complete or left_s == 0.0:
                return chunk
            await asyncio.sleep(min(left_s, _FOLLOW_PAUSE_S))

    async def _chunk(
        self,
        life: GangLife,
        unit: Unit,
        stream: LogStream,
        offset: int,
        limit: int,
        wait_s: float,
    ) -> LogChunk:
        watch = life.units.get(unit.name)
        pod = watch.pod if watch is not None else None
        if pod is not None and pod_is_over(pod):
            path = self._spool / life.record.gang.name / f"{unit.name}.{stream.value}"
            await self._bring(pod, stream, path)
            return read_stream(path, offset, limit, is_over=True)
        begin = max(0, offset)
        if pod is not None and container_state(pod, COMMAND, "running") is not None:
            with contextlib.suppress(ApiError):  # it may just be over
                path_of_pod = f"{life.shop.namespace.path}/pods/{pod['metadata']['name']}"
                wait_s = min(wait_s, _LONGEST_WAIT_S)
                return await live_piece(self.api, path_of_pod, stream, offset, limit, wait_s)
        return LogChunk(b"", begin, begin, bool(watch and watch.is_over))

    async def _bring(self, pod: Object, stream: LogStream, path: Path) -> None:
        ending = ending_of(pod)
        if ending is not None and stream.value in ending.logs:
            await self._fruit.stream(ending.logs[stream.value], path)

    async def keep_logs(self, name: str, destination: Path) -> Mapping[str, StoredStream]:
        """Tell where the sidecar of every unit has stored its streams."""
        del destination  # nothing is on this machine
        life = self._known(name)
        stored: dict[str, StoredStream] = {}
        for unit in life.record.units.values():
            watch = life.units.get(unit.name)
            pod = watch.pod if watch is not None else None
            ending = ending_of(pod) if pod is not None and pod_is_over(pod) else None
            if ending is not None:
                found = ending.logs.items()
                stored |= {f"{unit.name}.{stream}": each for stream, each in found}
        return stored

    async def exec(
        self,
        name: str,
        role: str,
        index: int,
        command: tuple[str, ...],
        stdin: AsyncIterator[bytes],
    ) -> AsyncGenerator[ExecChunk, None]:
        """Run a command in the container of a running replica."""
        life, unit = self._unit(name, role, index)
        watch = life.units.get(unit.name)
        pod = watch.pod if watch is not None else None
        if pod is None or container_state(pod, COMMAND, "running") is None:
            raise GangNotFoundError(f"{name} {role}.{index} is not running")
        path = f"{life.shop.namespace.path}/pods/{pod['metadata']['name']}"
        async with contextlib.aclosing(run_in(self.api, path, COMMAND, command, stdin)) as chunks:
            async for chunk in chunks:
                yield chunk

    # ---- inside

    def _known(self, name: str) -> GangLife:
        life = self._gangs.get(name)
        if life is None:
            raise GangNotFoundError(f"no gang {name}")
        return life

    def _unit(self, name: str, role: str, index: int) -> tuple[GangLife, Unit]:
        life = self._known(name)
        for unit in life.record.units.values():
            if unit.role == role and index in unit.known:
                return life, unit
        raise GangNotFoundError(f"{name} has no replica {role}.{index}")

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("a gang is not watched any more", exc_info=error)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
