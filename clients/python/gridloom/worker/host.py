"""The pool host: forks a pool's workers, watches them, and buries them.

It has one thread and imports little (no gRPC), so that a worker is forked in milliseconds and finds
a clean process. It runs no user code. What it promises:

- There are as many workers as the pool's role has replicas here, as far as the service wants them,
  and one more for each call that waits for others. A worker that dies is replaced.
- The service learns of each worker's end why it ended and what it was in. Whatever the worker had
  started ends with it.
- A call that runs past its time-out, or on after its cancel, is interrupted and then killed; so is
  a worker that takes more memory than it has.
- It outlives a restart of the service, and ends when the service stays away, when it is drained
  (at once, whatever runs, where the service says that it goes for good), and when its supervisor
  dies.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import time
from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import worker_pb2
from gridloom.worker.attention import KNOCK
from gridloom.worker.child import Child, Nursery
from gridloom.worker.deaths import buried, death_notice, last_words
from gridloom.worker.frames import connect
from gridloom.worker.lasting_link import LastingLink
from gridloom.worker.progress import NEVER, RETIRE, Alarm, now_ns
from gridloom.worker.staffing import Grants, Member, staff_changes
from gridloom.worker.supervision import processes
from gridloom.worker.supervision.wakeup import Wakeup
from gridloom.worker.watch import TICK_NS, Watch, knock
from gridloom.worker.work import work_of

if TYPE_CHECKING:
    from gridloom.worker.bridge import Bridge
    from gridloom.worker.deaths import Burial
    from gridloom.worker.host_settings import HostSettings
    from gridloom.worker.replicas import Replicas

# So long at most without a look at anything.
_LONGEST_SLEEP_NS = 2_000_000_000
# Workers that stood in for calls that waited stay a while: such calls come in series.
_EXTRA_STAYS_NS = 5_000_000_000
# A worker that must give up its share of the resources may finish its call within this time.
_RETIRE_PATIENCE_NS = 30_000_000_000
_LEAST_MARGIN_BYTES = 32 * 1024 * 1024
# Workers that end before they are ready: then something is wrong with all of them.
_MOST_STILLBORN = 3
_NS = 1_000_000_000


class PoolHost:
    """Holds a pool's workers on one node."""

    def __init__(
        self, settings: HostSettings, replicas: Replicas, bridge: Bridge | None = None
    ) -> None:
        """`bridge` leads to the service where there is no socket of its own."""
        self._settings = settings
        self._replicas = replicas
        self._bridge = bridge
        self._wakeup = Wakeup((signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP))
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._alarm = Alarm()
        self._link = LastingLink(
            lambda: connect(settings.pool.socket_path),
            lambda: settings.hello(os.getpid()),
            self._wakeup,
        )
        self._nursery = Nursery(
            settings.pool, settings.host_id, self._alarm, self._bell, work_of(settings.pool)
        )
        self._watch = Watch(_memory_limit(settings))
        self._children: dict[int, Child] = {}
        self._forked = 0
        self._stillborn = 0
        self._granted = replicas.granted()
        self._known: set[int] = set()
        self._asked: int | None = None
        self._extra, self._extra_until_ns = 0, 0
        # It finishes what it holds; and not even calls that wait for others get a new worker.
        self._leaving = self._stopped = self._leaves_now = False
        self._was_rung = False
        self._next_look_ns = NEVER
        self._broken = ""
        self._told = worker_pb2.HostStatus()

    def run(self) -> None:
        """Hold the workers until there shall be none any more."""
        processes.become_subreaper()
        processes.name_process("gl-pool-host")
        signal.signal(KNOCK, signal.SIG_IGN)
        _allow_many_descriptors()
        self._wakeup.add(self._bell)
        self._replicas.ask_for_notice()
        gc.freeze()
        gc.enable()
        self._act()
        while not self._is_over:
            self._sleep()
            self._act()
        self._end_all()

    @property
    def _is_over(self) -> bool:
        if self._leaves_now or (self._leaving and not self._children):
            return True
        return self._link.silence_s > self._settings.patience_s

    def _act(self) -> None:
        """Bring everything to where it should be."""
        # Whoever needs a look from now on rings: what is read below may be old already.
        self._alarm.wakes_at_ns = NEVER
        now = now_ns()
        self._bury()
        if self._bridge is not None:
            self._bridge.tend()
        if self._link.tend():
            self._told = worker_pb2.HostStatus()
            self._watch.numbers_begin_anew()
        for frame in self._link.arrived():
            self._take(frame, now)
        self._count_blocked(now)
        self._staff(now)
        self._tell()
        self._next_look_ns = min(
            self._watch.look(self._children.values(), now), self._usher_out(now)
        )

    def _sleep(self) -> None:
        until = self._next_wake_ns(now_ns())
        self._alarm.wakes_at_ns = until
        signals, descriptors = self._wakeup.wait(until / _NS)
        if signal.SIGTERM in signals:
            self._leaving = self._stopped = True
        if signal.SIGHUP in signals or not descriptors:
            self._granted = self._replicas.granted()
        self._was_rung = self._bell in descriptors
        if self._was_rung:
            os.eventfd_read(self._bell)

    def _next_wake_ns(self, now: int) -> int:
        until = min(self._next_look_ns, now + _LONGEST_SLEEP_NS)
        if self._was_rung:  # by a worker that begins something, and may not have begun yet
            until = min(until, now + TICK_NS)
        if self._extra:
            until = min(until, self._extra_until_ns)
        if not self._link.is_open:
            pause_s = max(self._link.next_try - time.monotonic(), 0.0)
            until = min(until, now + int(pause_s * _NS))
        return until

    # ---- the service

    def _take(self, frame: worker_pb2.ServiceFrame, now: int) -> None:
        kind = frame.WhichOneof("body")
        if kind == "resize":
            self._asked = frame.resize.workers
        elif kind == "cancel":
            self._watch.cancel(frame.cancel, now)
        elif kind == "drain":
            self._leaving = True
            self._leaves_now |= frame.drain.at_once

    def _tell(self) -> None:
        """Say how many workers there are, where that has changed."""
        status = worker_pb2.HostStatus(workers=len(self._children), broken=self._broken)
        if self._link.is_open and status != self._told:
            self._told = status
            self._link.send(worker_pb2.WorkerFrame(host=status))

    # ---- the staff

    def _staff(self, now: int) -> None:
        """Fork and retire until there are as many as there should be."""
        staying = [child for child in self._children.values() if not child.retires]
        members = [Member(child.pid, child.seat.board.is_busy) for child in staying]
        changes = staff_changes(self._grants(), members, len(self._children) - len(staying))
        for pid in changes.retire:
            self._retire(self._children[pid], now)
        for _ in range(changes.fork):
            self._fork()
        for index in changes.over:
            self._known.discard(index)
            self._replicas.report_ended(index)

    def _grants(self) -> Grants:
        self._known |= self._granted
        granted, asked, extra = self._granted, self._asked, self._extra
        if self._broken or self._stopped:
            asked = extra = 0
        elif self._leaving:  # what a call waits for may need a worker
            asked = min(extra, 1)
        return Grants(granted, frozenset(self._known), asked, extra)

    def _fork(self) -> None:
        self._forked += 1
        child = self._nursery.fork(self._forked, self._leave_in_child)
        self._children[child.pid] = child

    def _leave_in_child(self) -> None:
        """Let go, in a new worker, of what is the host's."""
        self._link.release()
        self._wakeup.close()
        if self._bridge is not None:
            self._bridge.release()
        for child in self._children.values():
            child.close()

    def _retire(self, child: Child, now: int) -> None:
        child.retires = True
        child.retire_by_ns = NEVER if self._leaving else now + _RETIRE_PATIENCE_NS
        child.seat.board.header[RETIRE] = 1

    def _usher_out(self, now: int) -> int:
        """Knock at workers that should go; when to look again, or NEVER."""
        leaving = [child for child in self._children.values() if child.retires]
        for child in leaving:
            if now >= child.retire_by_ns:
                processes.send([child.pid], signal.SIGKILL)
            else:
                knock(child)
        return now + TICK_NS if leaving else NEVER

    def _count_blocked(self, now: int) -> None:
        slots = sum(child.seat.board.blocked for child in self._children.values())
        blocked = -(-slots // self._settings.pool.slots)
        if blocked >= self._extra:
            self._extra, self._extra_until_ns = blocked, now + _EXTRA_STAYS_NS
        elif now >= self._extra_until_ns:
            self._extra = blocked

    # ---- ends

    def _bury(self) -> None:
        """Take leave of each worker that has ended, and end what it has left behind."""
        ended = buried(self._children)
        for burial in ended:
            self._account_for(burial)
        if ended:
            ours = set(self._children)
            _end_orphans(ours if self._bridge is None else ours | {self._bridge.pid})

    def _account_for(self, burial: Burial) -> None:
        child = self._children.pop(burial.pid)
        complaint = child.complaint()
        if child.is_ready:
            self._stillborn = 0
        elif not child.retires:
            self._stillborn += 1
            if complaint or self._stillborn >= _MOST_STILLBORN:
                self._broken = complaint or f"workers end before they are ready: {burial.how}"
        for output in last_words(child):
            self._link.send(worker_pb2.WorkerFrame(output=output))
        notice = death_notice(child, burial, self._watch.memory_bytes)
        self._link.send(worker_pb2.WorkerFrame(died=notice))
        child.close()

    def _end_all(self) -> None:
        """Leave nothing behind."""
        processes.send(list(self._children), signal.SIGKILL)
        processes.end_descendants()


def _end_orphans(living: set[int]) -> None:
    """Kill what dead workers had started: as a subreaper this process has inherited it."""
    orphans = set(processes.children(os.getpid())) - living
    for orphan in orphans:
        processes.send([orphan, *processes.descendants(orphan)], signal.SIGKILL)


def _allow_many_descriptors() -> None:
    """The host holds four for each worker."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _memory_limit(settings: HostSettings) -> int:
    """A worker's limit: its share without what the host takes of it, and a little less.

    The supervisor watches the sum, and ends all where that is too much: the one worker that takes
    more than its share should be found before.
    """
    share = settings.pool.memory_bytes
    margin = processes.proportional_bytes([os.getpid()]) + max(share // 20, _LEAST_MARGIN_BYTES)
    return max(share - margin, share // 2)
