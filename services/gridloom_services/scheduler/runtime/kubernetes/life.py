"""The life of one gang: its pods are brought to what is wanted, and what they say is told.

Every step is decided by what is written down in the gang's object and by what the pods are, and may
be repeated: so a life that another process began is carried on in the same way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.api import ApiError
from gridloom_services.scheduler.runtime.kubernetes.containers import COMMAND
from gridloom_services.scheduler.runtime.kubernetes.namespace import FORCED
from gridloom_services.scheduler.runtime.kubernetes.pod import PodSite, pod_manifest
from gridloom_services.scheduler.runtime.kubernetes.record import verdict_change
from gridloom_services.scheduler.runtime.kubernetes.refusals import refusal
from gridloom_services.scheduler.runtime.kubernetes.report import (
    UnitFacts,
    container_state,
    ending_of,
    is_over,
    statuses,
)
from gridloom_services.scheduler.runtime.kubernetes.units import hosts_text
from gridloom_services.scheduler.runtime.kubernetes.verdicts import trouble_of, verdict
from gridloom_services.scheduler.states import FailureClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.runtime.base import OutputFile
    from gridloom_services.scheduler.runtime.board import StatusBoard
    from gridloom_services.scheduler.runtime.kubernetes.fruit import Fruit
    from gridloom_services.scheduler.runtime.kubernetes.namespace import JobNamespace
    from gridloom_services.scheduler.runtime.kubernetes.nodes import ClusterNodes
    from gridloom_services.scheduler.runtime.kubernetes.plan import KubernetesSettings
    from gridloom_services.scheduler.runtime.kubernetes.record import GangRecord, Stop
    from gridloom_services.scheduler.runtime.kubernetes.verdicts import Pod, Verdict
    from gridloom_services.scheduler.runtime.units import Unit

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 15.0
# How long after its grace a pod is left to its sidecar before the cluster is asked to end it.
_SIDECAR_ALLOWANCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the lives of all gangs share."""

    settings: KubernetesSettings
    namespace: JobNamespace
    nodes: ClusterNodes
    board: StatusBoard
    fruit: Fruit
    # At most so many objects are being made at once.
    making: asyncio.Semaphore


@dataclass(slots=True)
class UnitWatch:
    """What is seen of a unit, and what was done about it. Times are of the monotonic clock."""

    pod: Pod | None = None
    is_gone: bool = False
    stop_told: Stop | None = None
    stop_since: float = 0.0
    is_deleted: bool = False
    trouble: str = ""
    trouble_since: float = 0.0
    outputs: tuple[OutputFile, ...] | None = None
    is_over: bool = False


@dataclass(slots=True)
class GangLife:
    """One gang. `run` is its whole life; the rest tells it that something has changed."""

    shop: Workshop
    record: GangRecord
    units: dict[str, UnitWatch] = field(default_factory=dict)
    # One verb at a time: each decides, writes down, and acts.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _due: float | None = None

    # ---- what is told

    def saw(self, unit: str, pod: Pod) -> None:
        """A pod is as it is."""
        watch = self._watch(unit)
        if not watch.is_gone:
            watch.pod = pod
            self._news.set()

    def lost(self, unit: str, pod: Pod) -> None:
        """A pod exists no more; this was its last state."""
        watch = self._watch(unit)
        watch.pod, watch.is_gone = pod, True
        self._news.set()

    def poke(self) -> None:
        """Something else has changed: a request, a node."""
        self._news.set()

    def _watch(self, unit: str) -> UnitWatch:
        return self.units.setdefault(unit, UnitWatch())

    @property
    def is_over(self) -> bool:
        """Say whether every unit has ended, and all was told."""
        return all(self._watch(name).is_over for name in self.record.units)

    def facts(self, unit: Unit) -> UnitFacts:
        """Return all that is known of a unit."""
        watch, stop = self._watch(unit.name), self.record.stop_of(unit)
        return UnitFacts(
            gang=self.record.gang.name,
            unit=unit,
            pod=watch.pod,
            is_gone=watch.is_gone,
            made=unit.name in self.record.made,
            verdict=self.record.verdicts.get(unit.name),
            stop=None if stop is None else stop.reason,
            outputs=watch.outputs,
            wants_outputs=bool(self.record.gang.role(unit.role).outputs),
        )

    # ---- the loop

    async def begin(self) -> None:
        """Make the pods of a gang that is new. What fails now is tried again by `run`."""
        async with self.turn:
            try:
                await self._make()
            except OSError as error:
                _log.warning("pods have to wait: %s", error, extra={"gang": self._name})

    async def run(self) -> None:
        """Bring everything wanted about, for as long as a unit lives."""
        pause_s = _FIRST_PAUSE_S
        while not self.is_over:
            self._news.clear()
            try:
                await self._step()
                pause_s = _FIRST_PAUSE_S
            except OSError as error:  # of the cluster, or of the object store
                _log.warning("a gang has to wait: %s", error, extra={"gang": self._name})
                self._due = time.monotonic() + pause_s
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            if not self.is_over:
                await self._rest()

    async def _rest(self) -> None:
        wait_s = None if self._due is None else max(0.0, self._due - time.monotonic())
        self._due = None
        try:
            await asyncio.wait_for(self._news.wait(), wait_s)
        except TimeoutError:
            return

    async def _step(self) -> None:
        async with self.turn:
            self._show()
            await self._make()
            for unit in self.record.units.values():
                if not is_over(self.facts(unit)):
                    await self._tend(unit)
            for unit in self.record.units.values():
                await self._finish(unit)

    @property
    def _name(self) -> str:
        return self.record.gang.name

    def _show(self) -> None:
        for unit in self.record.units.values():
            facts = self.facts(unit)
            if not is_over(facts):
                for status in statuses(facts):
                    self.shop.board.post(status)

    async def _finish(self, unit: Unit) -> None:
        """Tell the end of a unit, once all of it is known. OSError: not now."""
        watch, facts = self._watch(unit.name), self.facts(unit)
        if watch.is_over or not is_over(facts):
            return
        ending = ending_of(facts.pod) if facts.pod else None
        if ending is not None and ending.outputs_digest and watch.outputs is None:
            watch.outputs = await self.shop.fruit.outputs(ending.outputs_digest)
        for status in statuses(self.facts(unit)):
            self.shop.board.post(status)
        watch.is_over = True

    # ---- making pods

    async def _make(self) -> None:
        unmade = self.record.unmade
        if not unmade:
            return None
        gang, owner = self.record.gang, self.record.owner
        is_alone = len(self.record.units) == 1
        async with self.shop.making:
            if gang.token and not await self.shop.namespace.make_token(gang, owner):
                return await self._give_up(unmade)
            if not is_alone:
                await self.shop.namespace.introduce(gang, owner)
        await asyncio.gather(*(self._make_pod(unit, alone=is_alone) for unit in unmade))
        return None

    async def _give_up(self, unmade: list[Unit]) -> None:
        """End what cannot be made any more: its token went with the process that had it."""
        for unit in unmade:
            reason = "its start was cut short before its token was kept"
            await self._condemn(unit, verdict(FailureClass.NODE_LOST, reason))

    async def _make_pod(self, unit: Unit, *, alone: bool) -> None:
        flavour = self.shop.nodes.flavour(unit.node)
        hosts = hosts_text(self.record.gang, self.record.units, unit.role)
        site = PodSite(self.record.owner, flavour, subdomain=not alone, hosts=hosts)
        manifest = pod_manifest(self.record.gang, unit, self.shop.settings.pods, site)
        try:
            async with self.shop.making:
                pod = await self.shop.namespace.make_pod(manifest)
        except ApiError as error:
            if error.is_passing:
                raise
            await self._condemn(unit, refusal(error))
            return
        self.record.made.add(unit.name)
        watch = self._watch(unit.name)
        if watch.pod is None:  # the watch may have been faster
            watch.pod = pod

    # ---- seeing to what lives

    async def _tend(self, unit: Unit) -> None:
        watch, stop = self._watch(unit.name), self.record.stop_of(unit)
        lost_in_s = self.shop.nodes.lost_in_s(unit.node)
        if lost_in_s == 0.0:
            reason = f"node {unit.node} is lost"
            await self._condemn(unit, verdict(FailureClass.NODE_LOST, reason), FORCED)
        elif stop is not None:
            await self._stop(unit, watch, stop)
        elif watch.pod is not None:
            await self._mind(unit, watch, watch.pod)
            await self._tell_replicas(unit, watch.pod)
        if lost_in_s:
            self._look_again(lost_in_s)

    async def _condemn(self, unit: Unit, why: Verdict, grace_s: int = 1) -> None:
        """Write down how a unit ended, then see to it that this is true."""
        await self.shop.namespace.change_gang(self._name, verdict_change(unit.name, why))
        self.record.verdicts[unit.name] = why
        if unit.name in self.record.made:
            await self._delete(unit, grace_s)

    async def _delete(self, unit: Unit, grace_s: int) -> None:
        await self.shop.namespace.delete_pod(names.pod_name(self._name, unit), grace_s)
        self._watch(unit.name).is_deleted = True

    async def _stop(self, unit: Unit, watch: UnitWatch, stop: Stop) -> None:
        """Have a command ended by its sidecar; what has not begun, or does not end, by the cluster.

        Asking is repeated only where there is something new to say.
        """
        if watch.pod is None or watch.is_deleted:
            return None
        if container_state(watch.pod, COMMAND, "running") is None:
            has_ended = container_state(watch.pod, COMMAND, "terminated") is not None
            if not has_ended:
                return await self._delete(unit, max(1, math.ceil(stop.grace_s)))
        if watch.stop_told != stop:
            annotation = {names.STOP: stop.to_text()}
            await self.shop.namespace.annotate_pod(watch.pod["metadata"]["name"], annotation)
            watch.stop_told, watch.stop_since = stop, time.monotonic()
        left_s = watch.stop_since + self._patience(watch.pod, stop) - time.monotonic()
        if left_s <= 0:
            return await self._delete(unit, 1)
        return self._look_again(left_s)

    def _patience(self, pod: Pod, stop: Stop) -> float:
        patience_s = stop.grace_s + _SIDECAR_ALLOWANCE_S
        if container_state(pod, COMMAND, "terminated") is not None:
            patience_s += self.shop.settings.pods.storing_s
        return patience_s

    async def _mind(self, unit: Unit, watch: UnitWatch, pod: Pod) -> None:
        """End what will not begin: at once, or after the patience that its trouble deserves."""
        trouble = trouble_of(pod)
        if trouble is None:
            watch.trouble = ""
            return
        if watch.trouble != trouble.patience or not watch.trouble_since:
            watch.trouble, watch.trouble_since = trouble.patience, time.monotonic()
        settings = self.shop.settings
        allowed = {"image": settings.image_patience_s, "room": settings.room_patience_s}
        left_s = watch.trouble_since + allowed.get(trouble.patience, 0.0) - time.monotonic()
        if left_s <= 0:
            await self._condemn(unit, trouble.verdict)
        else:
            self._look_again(left_s)

    async def _tell_replicas(self, unit: Unit, pod: Pod) -> None:
        """Tell a shared process which of its replicas should be there."""
        wanted = json.dumps(unit.wanted)
        annotations: Mapping[str, str] = pod["metadata"].get("annotations", {})
        told = annotations.get(names.REPLICAS, json.dumps(unit.known))
        if unit.colocated and told != wanted:
            await self.shop.namespace.annotate_pod(
                pod["metadata"]["name"], {names.REPLICAS: wanted}
            )

    def _look_again(self, in_s: float) -> None:
        at = time.monotonic() + in_s
        self._due = at if self._due is None else min(self._due, at)
