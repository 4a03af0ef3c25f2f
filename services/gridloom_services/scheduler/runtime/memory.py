"""The runtime's twin in memory.

A `MemoryCluster` is the machines; a `MemoryRuntime` is a door to it. So a test can close the door
(or throw it away) and open another: what ran meanwhile is found, as after a restart.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gridloom_services.scheduler.runtime.base import (
    ExecChunk,
    Feature,
    Gang,
    GangActiveError,
    GangNotFoundError,
    LogChunk,
    LogStream,
    NodeCapacity,
    Phase,
    Placement,
    ReplicaStatus,
    StoredStream,
)
from gridloom_services.scheduler.runtime.board import StatusBoard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from pathlib import Path

    from gridloom_services.scheduler.runtime.memory_cluster import (
        MemoryCluster,
        MemoryGang,
        MemoryReplica,
    )


class MemoryRuntime:
    """A door to a cluster in memory. Keeps every promise of `Runtime`."""

    features = frozenset(Feature)

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster
        self._board = StatusBoard()

    async def open(self) -> None:
        """See what the cluster has."""
        self._cluster.board = self._board
        for running in self._cluster.gangs.values():
            for replica in running.replicas.values():
                self._board.post(replica.status)

    async def close(self) -> None:
        """Let go; the cluster goes on."""
        if self._cluster.board is self._board:
            self._cluster.board = None
        self._board.close()

    async def start(self, gang: Gang, placement: Placement) -> None:
        """Begin every replica of the placement, unless the gang is known."""
        if gang.name in self._cluster.gangs:
            return
        self._check(gang, placement)
        running = self._cluster.add(gang)
        for assignment in placement:
            self._cluster.place(running, assignment)

    def _check(self, gang: Gang, placement: Placement) -> None:
        roles = {role.name for role in gang.roles}
        nodes = {node.name for node in self._cluster.nodes}
        for each in placement:
            if each.role not in roles or each.node not in nodes:
                raise ValueError(f"{each} names a role or a node that does not exist")

    async def resize(self, name: str, role: str, assignments: Placement) -> None:
        """Begin what is new, stop what is gone."""
        running = self._known(name)
        if self._is_over(running):
            self._board.came_too_late(name, assignments, running.replicas)
            return
        self._check(running.gang, assignments)
        wanted = {each.index for each in assignments}
        for assignment in assignments:
            self._cluster.place(running, assignment)
        for (role_name, index), replica in running.replicas.items():
            if role_name == role and index not in wanted and replica.stopping is None:
                self._cluster.stop(replica, 10.0, "taken away by a resize")

    async def stop(self, name: str, grace_s: float, reason: str) -> None:
        """Ask every replica to end."""
        running = self._known(name)
        running.stop = running.stop or (grace_s, reason)
        for replica in running.replicas.values():
            self._cluster.stop(replica, grace_s, reason)

    async def forget(self, name: str) -> None:
        """Remove an ended gang."""
        running = self._cluster.gangs.get(name)
        if running is None:
            return
        if not self._is_over(running):
            raise GangActiveError(f"{name} has replicas that have not ended")
        del self._cluster.gangs[name]
        self._board.remove(name)

    async def names(self) -> frozenset[str]:
        """The gangs of the cluster."""
        return frozenset(self._cluster.gangs)

    def watch(self) -> AsyncIterator[ReplicaStatus]:
        """Present statuses, then changes."""
        return self._board.watch()

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
        """Read what the script lets the replica print."""
        del wait_s  # all of it is there from the start, and there is never more
        replica = self._replica(name, role, index)
        data = self._printed(replica, stream)
        begin = max(0, len(data) + offset) if offset < 0 else offset
        part = data[begin : begin + limit]
        after = begin + len(part)
        is_over = replica.status.phase is Phase.ENDED and after >= len(data)
        return LogChunk(part, begin, after, is_over)

    def _printed(self, replica: MemoryReplica, stream: LogStream) -> bytes:
        if replica.status.started_at is None:
            return b""
        does = replica.behaviour
        return does.stdout if stream is LogStream.STDOUT else does.stderr

    async def keep_logs(self, name: str, destination: Path) -> Mapping[str, StoredStream]:
        """Write the logs of a gang into a folder, or store them where the cluster does that."""
        printed = {
            f"{role}.{index}.{stream.value}": self._printed(replica, stream)
            for (role, index), replica in self._known(name).replicas.items()
            for stream in LogStream
            if replica.status.log_index == index
        }
        if self._cluster.stored is not None:
            return {
                key: _store(self._cluster.stored, data) for key, data in printed.items() if data
            }
        for key, data in printed.items():
            _keep(destination / key, data)
        return {}

    async def exec(
        self,
        name: str,
        role: str,
        index: int,
        command: tuple[str, ...],
        stdin: AsyncIterator[bytes],
    ) -> AsyncGenerator[ExecChunk, None]:
        """Print the command's arguments and what comes in; exit with 0."""
        replica = self._replica(name, role, index)
        if replica.status.phase is not Phase.RUNNING:
            raise GangNotFoundError(f"{name} {role}.{index} is not running")
        yield ExecChunk(data=" ".join(command).encode() + b"\n")
        async for data in stdin:
            yield ExecChunk(data=data)
        yield ExecChunk(exit_code=0)

    async def capacity(self) -> tuple[NodeCapacity, ...]:
        """The nodes that are left."""
        return self._cluster.nodes

    async def capacity_changed(self) -> None:
        """Return when the cluster has lost or been given a node."""
        await self._cluster.nodes_changed.wait()
        self._cluster.nodes_changed.clear()

    def _known(self, name: str) -> MemoryGang:
        running = self._cluster.gangs.get(name)
        if running is None:
            raise GangNotFoundError(f"no gang {name}")
        return running

    def _replica(self, name: str, role: str, index: int) -> MemoryReplica:
        replica = self._known(name).replicas.get((role, index))
        if replica is None:
            raise GangNotFoundError(f"{name} has no replica {role}.{index}")
        return replica

    def _is_over(self, running: MemoryGang) -> bool:
        return all(each.status.phase is Phase.ENDED for each in running.replicas.values())


def _keep(path: Path, data: bytes) -> None:
    if data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _store(stored: dict[str, bytes], data: bytes) -> StoredStream:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    stored[digest] = data
    return StoredStream(digest)
