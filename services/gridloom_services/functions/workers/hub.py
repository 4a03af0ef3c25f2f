"""All processes of pools that are connected: what goes to them, what they say, how they end."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from gridloom.api.functions.v1 import worker_pb2
from gridloom.values import dataclass

from gridloom_services.functions import wire
from gridloom_services.functions.dispatch import Death, Worker
from gridloom_services.functions.workers.answers import death_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.functions.dispatch import Dispatcher, Interruption, Lease
    from gridloom_services.functions.metrics import CallMetrics
    from gridloom_services.functions.workers.answers import Answers
    from gridloom_services.functions.workers.link import Link

HOST_SPEAKS_WITHIN_S = 1.0
"""A worker whose connection ended is taken for dead without a word of its host after this."""

JOB_KNOWN_WITHIN_S = 15.0
"""A pool's first process may be here before the answer that says which job it belongs to."""

_log = logging.getLogger(__name__)


class PoolRegister(Protocol):
    """What the hub asks and tells the pools."""

    def admits(self, pool_id: str, python: str) -> None:
        """Raise ConflictError or NotFoundError where the pool has no use for the process."""

    def job_of(self, pool_id: str) -> str:
        """The pool's present job; empty where that is not known (yet)."""

    def is_draining(self, pool_id: str) -> bool:
        """Whether the processes of its present job were told to end."""

    def worker_joined(self, pool_id: str) -> None:
        """A worker is ready."""

    def worker_left(self, pool_id: str) -> None:
        """A worker is gone."""

    def broke(self, pool_id: str, reason: str) -> None:
        """Its workers cannot be made."""


@dataclass(slots=True, eq=False)
class Peer:
    """A worker. `functions` are those whose code it has been sent."""

    link: Link
    functions: set[bytes] = field(default_factory=set)

    @property
    def id(self) -> str:
        """Of the worker."""
        return self.link.hello.worker_id

    @property
    def host_id(self) -> str:
        """Of the process that forked it."""
        return self.link.hello.host_id


class WorkerHub:
    """The crew of all pools; the way out for leases and interruptions."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        answers: Answers,
        pools: PoolRegister,
        metrics: CallMetrics,
        epoch: Callable[[], int],
    ) -> None:
        """`epoch` tells that of this start, once it is known."""
        self._dispatcher = dispatcher
        self._answers = answers
        self._pools = pools
        self._metrics = metrics
        self._epoch = epoch
        self._workers: dict[str, Peer] = {}
        self._hosts: dict[str, Link] = {}
        self._attempts: dict[str, int] = {}
        self._waiting: dict[Link, asyncio.TimerHandle] = {}
        self._ending: dict[str, asyncio.TimerHandle] = {}
        self._is_closed = False
        self.changed: Callable[[], None]
        """Told after every event."""

    @property
    def workers(self) -> int:
        """How many are connected."""
        return len(self._workers)

    def close(self) -> None:
        """What becomes of workers from now on is the next service's business."""
        self._is_closed = True
        for handle in [*self._waiting.values(), *self._ending.values()]:
            handle.cancel()

    # ---- who comes

    def admits(self, hello: worker_pb2.WorkerHello) -> None:
        """Raise ConflictError or NotFoundError where the pool has no use for it."""
        self._pools.admits(hello.pool_id, hello.python)

    def joined(self, link: Link) -> None:
        """A process was let in. It is taken on when its pool is known to have its job."""
        job_id = self._pools.job_of(link.pool_id)
        if job_id:
            self._take_on(link, job_id)
        else:
            deadline = _now() + JOB_KNOWN_WITHIN_S
            self._look_again(link, deadline)

    def _look_again(self, link: Link, deadline: float) -> None:
        job_id = self._pools.job_of(link.pool_id)
        self._waiting.pop(link, None)
        if job_id or _now() > deadline:
            self._take_on(link, job_id)
        elif link.is_open:
            loop = asyncio.get_running_loop()
            self._waiting[link] = loop.call_later(0.005, self._look_again, link, deadline)

    def _take_on(self, link: Link, job_id: str) -> None:
        """Fencing: only processes of the pool's present job, and of its newest attempt."""
        whose = link.principal
        if whose.job_id != job_id or whose.attempt < self._attempts.get(job_id, 0):
            details = {"pool": link.pool_id, "worker": link.worker_id, "job": whose.job_id}
            _log.info("a process of another job of its pool was sent away", extra=details)
            link.close()
            return
        self._attempts[job_id] = whose.attempt
        if link.is_host:
            self._hosts[link.worker_id] = link
            if self._pools.is_draining(link.pool_id):  # it was on its way when the others were told
                link.send(worker_pb2.ServiceFrame(drain=worker_pb2.Drain()))
        else:
            self._add_worker(link)

    def _add_worker(self, link: Link) -> None:
        older = self._workers.get(link.worker_id)
        if older is not None:
            self._end(older, Death())
            older.link.close()
        peer = Peer(link)
        self._workers[peer.id] = peer
        hello = link.hello
        worker = Worker(peer.id, hello.pool_id, hello.host_id, hello.slots, _now())
        worker.draining = self._pools.is_draining(hello.pool_id)
        self._dispatcher.join(worker)
        self._pools.worker_joined(hello.pool_id)
        self._metrics.workers.set(len(self._workers))
        self.changed()

    # ---- what they say

    def received(self, link: Link, frame: worker_pb2.WorkerFrame) -> None:
        """A frame after the hello."""
        kind = frame.WhichOneof("body")
        if link.is_host:
            self._from_host(link, kind, frame)
        else:
            peer = self._workers.get(link.worker_id)
            if peer is not None and peer.link is link:
                self._from_worker(peer.id, kind, frame)
        self.changed()

    def _from_worker(self, worker_id: str, kind: str | None, frame: worker_pb2.WorkerFrame) -> None:
        if kind == "results":
            if frame.results.epoch == self._epoch():
                self._answers.take(worker_id, frame.results, _now())
            else:
                self._dispatcher.stale_answers += 1
        elif kind == "output":
            self._answers.print(worker_id, frame.output)
        elif kind == "blocked":
            place = (worker_id, frame.blocked.batch, frame.blocked.unit)
            if frame.blocked.blocked:
                self._dispatcher.slot_blocked(*place)
            else:
                self._dispatcher.slot_resumed(*place)

    def _from_host(self, link: Link, kind: str | None, frame: worker_pb2.WorkerFrame) -> None:
        if kind == "died":
            self._died(frame.died.worker_id, death_from(frame.died))
        elif kind == "output":
            for peer in self._workers.values():
                if peer.host_id == link.worker_id:
                    self._answers.print(peer.id, frame.output)
        elif kind == "host" and frame.host.broken:
            self._pools.broke(link.pool_id, frame.host.broken)

    # ---- how they end

    def left(self, link: Link) -> None:
        """A connection is over. Why, a worker's host may say; it is waited for a moment."""
        handle = self._waiting.pop(link, None)
        if handle is not None:
            handle.cancel()
        if self._is_closed:
            return
        if link.is_host:
            if self._hosts.get(link.worker_id) is link:
                del self._hosts[link.worker_id]
            return
        peer = self._workers.get(link.worker_id)
        if peer is not None and peer.link is link:
            self._worker_lost(peer)

    def _worker_lost(self, peer: Peer) -> None:
        worker = self._dispatcher.workers.get(peer.id)
        if worker is None or not worker.leases:
            self._end(peer, Death())
        elif peer.host_id not in self._hosts:
            self._end(peer, None)
        else:
            worker.draining = True
            loop = asyncio.get_running_loop()
            handle = loop.call_later(HOST_SPEAKS_WITHIN_S, self._end, peer, None)
            self._ending[peer.id] = handle

    def _died(self, worker_id: str, death: Death) -> None:
        """A host says why a worker is no more, before or after its connection ended."""
        peer = self._workers.get(worker_id)
        if peer is not None:
            self._end(peer, death)
            peer.link.close()

    def _end(self, peer: Peer, death: Death | None) -> None:
        """A worker is no more: what it held is dealt with."""
        handle = self._ending.pop(peer.id, None)
        if handle is not None:
            handle.cancel()
        if self._workers.get(peer.id) is not peer:
            return
        del self._workers[peer.id]
        worker = self._dispatcher.workers.get(peer.id)
        if worker is not None and worker.leases:
            self._metrics.deaths.inc()
        self._dispatcher.leave(peer.id, death, _now())
        self._pools.worker_left(peer.link.pool_id)
        self._metrics.workers.set(len(self._workers))
        self.changed()

    def give_up_hung(self, after_s: float) -> None:
        """Workers that are silent so far beyond a time-out: their host should have ended them."""
        now = _now()
        for worker in list(self._dispatcher.workers.values()):
            lease = worker.overdue(now, after_s)
            peer = self._workers.get(worker.id)
            if lease is None or peer is None:
                continue
            _log.warning("a worker is given up: it hangs", extra={"worker": worker.id})
            for piece in lease.open[:1]:
                notice = worker_pb2.UnitCancel(batch=lease.number, unit=piece.unit, running=True)
                self._tell_host(peer, worker_pb2.ServiceFrame(cancel=notice))
                hung = Death(timed_out=True, busy=True, batch=lease.number, unit=piece.unit)
                self._end(peer, hung)
            peer.link.close()

    # ---- what goes out

    def prepare(self, lease: Lease) -> Callable[[], None]:
        """Encode a lease for its worker; the returned function sends it."""
        peer = self._workers[lease.worker_id]
        function = lease.lane.function
        assert function is not None
        news = []
        if function.digest not in peer.functions:
            peer.functions.add(function.digest)
            news.append(function)
        batch = wire.batch_message(lease, self._epoch(), news)
        frame = worker_pb2.ServiceFrame(batch=batch)

        def send() -> None:
            peer.link.send(frame)

        return send

    def interrupt(self, notice: Interruption, *, running: bool, grace_ms: int) -> None:
        """Have a worker drop a unit; where it has begun, its host sees to it that it ends."""
        peer = self._workers.get(notice.worker_id)
        if peer is None:
            return
        cancel = worker_pb2.UnitCancel(
            batch=notice.batch, unit=notice.unit, running=running, grace_ms=grace_ms
        )
        if notice.items is not None:
            cancel.ranges.add(first=notice.items[0], count=notice.items[1])
        frame = worker_pb2.ServiceFrame(cancel=cancel)
        peer.link.send(frame)
        if running:
            self._tell_host(peer, frame)

    def _tell_host(self, peer: Peer, frame: worker_pb2.ServiceFrame) -> None:
        host = self._hosts.get(peer.host_id)
        if host is not None:
            host.send(frame)

    def drain(self, pool_id: str, *, at_once: bool = False) -> bool:
        """Tell a pool's hosts to end when their workers have finished, or `at_once`.

        False: none is here.
        """
        hosts = [host for host in self._hosts.values() if host.pool_id == pool_id]
        for worker in self._dispatcher.held.pool(pool_id).workers.values():
            worker.draining = True
        for host in hosts:
            host.send(worker_pb2.ServiceFrame(drain=worker_pb2.Drain(at_once=at_once)))
        return bool(hosts)

    def send_home(self, *, at_once: bool) -> None:
        """Tell every host to end when its workers have finished, or `at_once`."""
        for pool_id in {host.pool_id for host in self._hosts.values()}:
            self.drain(pool_id, at_once=at_once)


def _now() -> float:
    return asyncio.get_running_loop().time()
