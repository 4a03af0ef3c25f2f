"""Machines in memory: gangs follow a script, nodes exist by name only, time may stand still."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import field, replace
from typing import TYPE_CHECKING, Protocol

from gridloom.values import dataclass

from gridloom_services.scheduler.runtime.base import (
    Assignment,
    Gang,
    NodeCapacity,
    OutputFile,
    Phase,
    ReplicaStatus,
)
from gridloom_services.scheduler.states import FailureClass

if TYPE_CHECKING:
    from gridloom_services.scheduler.runtime.board import StatusBoard

_SIGKILL = 9
_SIGTERM = 15
_SIGNAL_BASE = 128


class Clock(Protocol):
    """Time, and what is due at some point of it."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def call_at(self, when: float, action: Callable[[], None]) -> None:
        """Call `action` once, when it is `when`."""


class LoopClock:
    """The clock on the wall, through the running event loop."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def call_at(self, when: float, action: Callable[[], None]) -> None:
        """Call `action` once, when it is `when`."""
        asyncio.get_running_loop().call_later(max(0.0, when - time.time()), action)


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self, now: float = 1_000_000_000.0) -> None:
        self._now = now
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def call_at(self, when: float, action: Callable[[], None]) -> None:
        """Call `action` once, when the clock has been moved to `when` or beyond."""
        heapq.heappush(self._due, (when, next(self._count), action))

    def advance(self, seconds: float) -> None:
        """Move on, doing what falls due in between in its order, each at its own time."""
        end = self._now + seconds
        while self._due and self._due[0][0] <= end:
            self._now, _, action = heapq.heappop(self._due)
            action()
        self._now = end


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a replica does.

    It starts `start_after_s` after it was placed, runs for `duration_s` (None: until it is
    stopped), then ends with `exit_code`, or as `failure_class` says. After SIGTERM it takes
    `stop_after_s` to end (None: it does not listen, and is killed when the grace is over).
    """

    duration_s: float | None = 0.0
    exit_code: int = 0
    signal: int = 0
    failure_class: FailureClass | None = None
    reason: str = ""
    start_after_s: float = 0.0
    stop_after_s: float | None = 0.0
    stdout: bytes = b""
    stderr: bytes = b""
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    outputs: tuple[OutputFile, ...] = ()


Script = Callable[[Gang, str, int], Behaviour]


def succeed_at_once(_gang: Gang, _role: str, _index: int) -> Behaviour:
    """The script of a cluster that was given none."""
    return Behaviour()


@dataclass(slots=True)
class MemoryReplica:
    """One replica, what it is going to do, and whether it was told to stop (when, why)."""

    status: ReplicaStatus
    behaviour: Behaviour
    stopping: tuple[float, str] | None = None


@dataclass(slots=True)
class MemoryGang:
    """A gang and its replicas; `stop` holds the grace and the reason once it was asked to."""

    gang: Gang
    replicas: dict[tuple[str, int], MemoryReplica] = field(default_factory=dict)
    stop: tuple[float, str] | None = None


class MemoryCluster:
    """Nodes and what runs on them. Tests script it, and play fate with the verbs below."""

    def __init__(
        self,
        nodes: tuple[NodeCapacity, ...] = (),
        script: Script = succeed_at_once,
        clock: Clock | None = None,
    ) -> None:
        default = NodeCapacity("local", {"cpu": 4000, "memory": 8 << 30})
        self.nodes = nodes or (default,)
        self.nodes_changed = asyncio.Event()
        self.script = script
        self.clock: Clock = clock or LoopClock()
        self.gangs: dict[str, MemoryGang] = {}
        # Every start that really began something, in order: for tests that count copies.
        self.started: list[tuple[str, str, int]] = []
        # Where streams are stored by digest at the end, as pods do it. None: they become files.
        self.stored: dict[str, bytes] | None = None
        # Where changes are shown: the door that is open now.
        self.board: StatusBoard | None = None

    def finish(
        self,
        name: str,
        role: str = "main",
        index: int = 0,
        *,
        exit_code: int = 0,
        failure_class: FailureClass | None = None,
        reason: str = "",
    ) -> None:
        """End a replica now, whatever its script says."""
        replica = self.gangs[name].replicas[role, index]
        replica.behaviour = replace(
            replica.behaviour, exit_code=exit_code, failure_class=failure_class, reason=reason
        )
        self._end(replica)

    def set_nodes(self, nodes: tuple[NodeCapacity, ...]) -> None:
        """Have other nodes from now on; what runs goes on."""
        self.nodes = nodes
        self.nodes_changed.set()

    def lose_node(self, node: str) -> None:
        """Take a node away with everything that runs on it."""
        self.set_nodes(tuple(each for each in self.nodes if each.name != node))
        for running in self.gangs.values():
            for replica in running.replicas.values():
                if replica.status.node == node:
                    reason = f"node {node} is lost"
                    self._close(replica, None, 0, FailureClass.NODE_LOST, reason)

    def add(self, gang: Gang) -> MemoryGang:
        """Take in a gang that has no replicas yet."""
        running = self.gangs[gang.name] = MemoryGang(gang)
        return running

    def place(self, running: MemoryGang, assignment: Assignment) -> None:
        """Begin a replica that is not there yet."""
        key = assignment.role, assignment.index
        if key in running.replicas:
            return
        gang = running.gang
        behaviour = self.script(gang, *key)
        status = ReplicaStatus(
            gang=gang.name,
            role=assignment.role,
            index=assignment.index,
            phase=Phase.STARTING,
            node=assignment.node,
            log_index=_log_index(running, assignment),
        )
        replica = running.replicas[key] = MemoryReplica(status, behaviour)
        self.started.append((gang.name, *key))
        self._show(replica, status)
        if running.stop:
            self.stop(replica, *running.stop)
        self.clock.call_at(
            self.clock.now() + behaviour.start_after_s, lambda: self._run(replica, gang)
        )

    def stop(self, replica: MemoryReplica, grace_s: float, reason: str) -> None:
        """Ask a replica to end. The first reason stands; a later call can only shorten it."""
        now = self.clock.now()
        kill_at = now + grace_s
        if replica.stopping is not None:
            kill_at = min(kill_at, replica.stopping[0])
            reason = replica.stopping[1]
        replica.stopping = kill_at, reason
        if replica.status.phase is Phase.STARTING:
            self._close(replica, None, 0, FailureClass.CANCELLED, reason)
            return
        obeys = replica.behaviour.stop_after_s
        if obeys is not None and obeys < grace_s:
            self.clock.call_at(now + obeys, lambda: self._obey(replica, _SIGTERM))
        self.clock.call_at(kill_at, lambda: self._obey(replica, _SIGKILL))

    def _obey(self, replica: MemoryReplica, number: int) -> None:
        _, reason = replica.stopping or (0.0, "")
        self._close(replica, _SIGNAL_BASE + number, number, FailureClass.CANCELLED, reason)

    def _run(self, replica: MemoryReplica, gang: Gang) -> None:
        if replica.status.phase is not Phase.STARTING:
            return
        now = self.clock.now()
        self._show(replica, replace(replica.status, phase=Phase.RUNNING, started_at=now))
        duration_s = replica.behaviour.duration_s
        if duration_s is not None:
            self.clock.call_at(now + duration_s, lambda: self._end(replica))
        if gang.time_limit_s is not None:
            self.clock.call_at(now + gang.time_limit_s, lambda: self._time_out(replica, gang))

    def _time_out(self, replica: MemoryReplica, gang: Gang) -> None:
        reason = f"the time limit of {gang.time_limit_s:g} s"
        code = _SIGNAL_BASE + _SIGTERM
        self._close(replica, code, _SIGTERM, FailureClass.TIME_LIMIT, reason)

    def _end(self, replica: MemoryReplica) -> None:
        does = replica.behaviour
        code = _SIGNAL_BASE + does.signal if does.signal else does.exit_code
        failure = does.failure_class
        if failure is None:
            failure = FailureClass.APPLICATION_ERROR if code else FailureClass.NONE
        reason = does.reason or (f"exit code {code}" if code else "")
        self._close(replica, code, does.signal, failure, reason)

    def _close(
        self,
        replica: MemoryReplica,
        exit_code: int | None,
        number: int,
        failure_class: FailureClass,
        reason: str,
    ) -> None:
        if replica.status.phase is Phase.ENDED:
            return
        does, ran = replica.behaviour, replica.status.started_at is not None
        status = replace(
            replica.status,
            phase=Phase.ENDED,
            exit_code=exit_code,
            signal=number,
            failure_class=failure_class,
            reason=reason,
            cpu_seconds=does.cpu_seconds if ran else 0.0,
            peak_memory_bytes=does.peak_memory_bytes if ran else 0,
            ended_at=self.clock.now(),
            outputs=does.outputs if ran else (),
        )
        self._show(replica, status)

    def _show(self, replica: MemoryReplica, status: ReplicaStatus) -> None:
        replica.status = status
        if self.board is not None:
            self.board.post(status)


def _log_index(running: MemoryGang, assignment: Assignment) -> int:
    if not running.gang.role(assignment.role).colocate:
        return assignment.index
    sharing = [
        replica.status.log_index
        for replica in running.replicas.values()
        if replica.status.role == assignment.role and replica.status.node == assignment.node
    ]
    return min([assignment.index, *sharing])
