"""What tests of runtimes share: doors to objects, gangs that behave, and somebody who watches."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import shlex
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from gridloom.worker.supervision import handover
from gridloom_services.scheduler.runtime.base import (
    Assignment,
    Gang,
    GangActiveError,
    GangRole,
    OutputFile,
    Phase,
    Placement,
    ReplicaStatus,
    Runtime,
)
from gridloom_services.scheduler.runtime.local import LocalRuntime, LocalSettings
from gridloom_services.scheduler.runtime.memory import MemoryRuntime
from gridloom_services.scheduler.runtime.memory_cluster import Behaviour, MemoryCluster

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

# A cluster to run the suites on that can do so, instead of on this machine.
KUBECONFIG = os.environ.get("E2E_KUBECONFIG", "")
NODE = os.environ.get("E2E_NODE", "gridloom-worker") if KUBECONFIG else "local"
PATIENCE_S = 120.0 if KUBECONFIG else 20.0


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _read(path: Path) -> bytes:
    return path.read_bytes()


class ObjectsInMemory:
    """An object store that forgets; `troubles` are raised first, one a call."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.holders: dict[str, str] = {}
        self.troubles: list[OSError] = []

    def put(self, content: bytes) -> str:
        digest = digest_of(content)
        self.objects[digest] = content
        return digest

    async def fetch(self, digest: str, path: Path) -> None:
        self._maybe_fail()
        _write(path, self.objects[digest])

    async def store(self, path: Path, holder: str) -> tuple[str, int]:
        self._maybe_fail()
        digest = self.put(_read(path))
        self.holders[digest] = holder
        return digest, len(self.objects[digest])

    def _maybe_fail(self) -> None:
        if self.troubles:
            raise self.troubles.pop(0)


@dataclass
class Surroundings:
    """What every gang is told of the platform around it, where there is one."""

    env: dict[str, str] = field(default_factory=dict)
    token: str = ""


AROUND = Surroundings()


def gang(
    *command: str,
    name: str = "job_a-a1",
    replicas: int = 1,
    time_limit_s: float | None = None,
    env: Mapping[str, str] | None = None,
    token: str = "",
    **role: object,
) -> Gang:
    """A gang with one role, "main"."""
    main = GangRole("main", tuple(range(replicas)), command, **role)
    job_id, _, attempt = name.rpartition("-a")
    return Gang(
        name,
        job_id,
        int(attempt),
        (main,),
        env={**AROUND.env, **(env or {})},
        token=token or AROUND.token,
        time_limit_s=time_limit_s,
    )


def everywhere(gang_: Gang, node: str = NODE) -> Placement:
    """Every replica of the gang, on one node."""
    return tuple(
        Assignment(role.name, index, node) for role in gang_.roles for index in role.replicas
    )


def some(*indices: int, role: str = "main") -> Placement:
    return tuple(Assignment(role, index, NODE) for index in indices)


class Watcher:
    """Reads a runtime's watch in the background and remembers."""

    def __init__(self, runtime: Runtime) -> None:
        self.seen: list[ReplicaStatus] = []
        self._news = asyncio.Condition()
        self._task = asyncio.create_task(self._read(runtime))

    async def _read(self, runtime: Runtime) -> None:
        async for status in runtime.watch():
            async with self._news:
                self.seen.append(status)
                self._news.notify_all()

    async def until(self, fits: Callable[[ReplicaStatus], bool]) -> ReplicaStatus:
        """The newest status that fits, as soon as there is one."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: any(map(fits, self.seen)))
        return next(status for status in reversed(self.seen) if fits(status))

    async def phase(
        self, phase: Phase, name: str = "job_a-a1", index: int = 0, role: str = "main"
    ) -> ReplicaStatus:
        return await self.until(
            lambda status: (
                (status.gang, status.role, status.index, status.phase) == (name, role, index, phase)
            )
        )

    async def ended(
        self, name: str = "job_a-a1", index: int = 0, role: str = "main"
    ) -> ReplicaStatus:
        return await self.phase(Phase.ENDED, name, index, role)

    async def running(
        self, name: str = "job_a-a1", index: int = 0, role: str = "main"
    ) -> ReplicaStatus:
        return await self.phase(Phase.RUNNING, name, index, role)

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


class Stage(Protocol):
    """One kind of runtime, on which the same plays are given."""

    def acts(
        self, behaviour: Behaviour, files: Mapping[str, bytes] | None = None
    ) -> tuple[str, ...]:
        """A command that behaves so, leaving these files behind."""

    def make(self) -> Runtime:
        """A runtime that is not open yet; one after another, as after restarts."""

    def content(self, digest: str) -> bytes:
        """What was stored outside of the runtime."""

    async def prepare(self) -> None:
        """Wait until nothing is left of an earlier play."""

    async def until_over(self, name: str) -> None:
        """Wait for the end of a gang while no runtime is there to tell of it."""


class LocalStage:
    def __init__(self, root: Path, settings: LocalSettings | None = None) -> None:
        self.root = root
        self.objects = ObjectsInMemory()
        self.settings = settings

    def acts(
        self, behaviour: Behaviour, files: Mapping[str, bytes] | None = None
    ) -> tuple[str, ...]:
        return ("sh", "-c", shell_script(behaviour, files or {}))

    def make(self) -> Runtime:
        return LocalRuntime(self.root, self.objects, os.environ, self.settings)

    def content(self, digest: str) -> bytes:
        return self.objects.objects[digest]

    async def prepare(self) -> None:
        """Its folder is its own."""

    async def until_over(self, name: str) -> None:
        await eventually((self.root / name / "main.0" / handover.END).exists)


class MemoryStage:
    def __init__(self) -> None:
        self._behaviours: dict[str, Behaviour] = {}
        self._count = itertools.count()
        self.cluster = MemoryCluster(script=self._script)
        self.stored: dict[str, bytes] = {}
        self.cluster.stored = self.stored

    def _script(self, gang_: Gang, role: str, index: int) -> Behaviour:
        del index
        return self._behaviours[gang_.role(role).command[0]]

    def acts(
        self, behaviour: Behaviour, files: Mapping[str, bytes] | None = None
    ) -> tuple[str, ...]:
        outputs = [
            OutputFile(name, digest_of(content), len(content))
            for name, content in (files or {}).items()
        ]
        name = f"act-{next(self._count)}"
        self._behaviours[name] = replace(behaviour, outputs=tuple(outputs))
        return (name,)

    def make(self) -> Runtime:
        return MemoryRuntime(self.cluster)

    def content(self, digest: str) -> bytes:
        return self.stored[digest]

    async def prepare(self) -> None:
        """Its cluster is its own."""

    async def until_over(self, name: str) -> None:
        replicas = self.cluster.gangs[name].replicas.values()
        await eventually(lambda: all(each.status.phase is Phase.ENDED for each in replicas))


def shell_script(behaviour: Behaviour, files: Mapping[str, bytes]) -> str:
    """A shell's way to behave so."""
    lines = []
    if behaviour.stop_after_s is None:
        lines.append("trap '' TERM")
    elif behaviour.stop_after_s > 0:
        lines.append(f"trap 'sleep {behaviour.stop_after_s}; exit 143' TERM")
    for name, content in files.items():
        lines.append(f"printf %s {shlex.quote(content.decode())} > {shlex.quote(name)}")
    lines += [
        f"printf %s {shlex.quote(behaviour.stdout.decode())}",
        f"printf %s {shlex.quote(behaviour.stderr.decode())} >&2",
        f"sleep {1000 if behaviour.duration_s is None else behaviour.duration_s} & wait $!",
    ]
    if behaviour.signal:
        lines.append(f"kill -{behaviour.signal} $$")
    lines.append(f"exit {behaviour.exit_code}")
    return "\n".join(lines)


@asynccontextmanager
async def opened(stage: Stage) -> AsyncIterator[tuple[Runtime, Watcher]]:
    """A runtime of the stage and somebody who watches it."""
    runtime = stage.make()
    await runtime.open()
    watcher = Watcher(runtime)
    try:
        yield runtime, watcher
    finally:
        await runtime.close()
        await watcher.close()


async def clear(stage: Stage) -> None:
    """End and forget everything that runs on the stage."""
    async with opened(stage) as (runtime, _):
        for name in await runtime.names():
            await runtime.stop(name, 0, "the test is over")
        for name in await runtime.names():
            await forget_when_over(runtime, name)


async def forget_when_over(runtime: Runtime, name: str) -> None:
    """Forget a gang that is about to end."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await runtime.forget(name)
            except GangActiveError:
                await asyncio.sleep(0.01)
