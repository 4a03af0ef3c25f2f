"""A platform that does nothing but run gangs on this machine, made to be killed at any moment.

`python -m tests.support.local_platform FOLDER` reads `FOLDER/plan.json` (gangs by name: command,
how long to wait after the start, whether to stop them then), starts every gang that
`FOLDER/ends.log` does not have, writes each end there, durably, and then forgets the gang: as the
scheduler does. It ends when all have ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom_services.scheduler.runtime.base import GangNotFoundError, Phase, ReplicaStatus
from gridloom_services.scheduler.runtime.local import LocalRuntime, LocalSettings
from gridloom_services.scheduler.runtime.units import Limits

from tests.support.runtimes import ObjectsInMemory, everywhere, gang

if TYPE_CHECKING:
    from gridloom_services.scheduler.runtime.base import Runtime


@dataclass(frozen=True)
class Ended:
    """The end of a gang with one replica."""

    name: str
    exit_code: int | None
    failure: str
    reason: str


class Ledger:
    """Ends, in a file that is appended to and synced."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Ended]:
        if not self._path.exists():
            return []
        lines = self._path.read_text().split("\n")
        return [Ended(**json.loads(line)) for line in lines[:-1]]

    def add(self, status: ReplicaStatus) -> None:
        end = Ended(status.gang, status.exit_code, status.failure_class.name, status.reason)
        with self._path.open("ab") as file:
            file.write(json.dumps(end.__dict__).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


async def serve(folder: Path, plan: dict[str, Any], ledger: Ledger) -> None:
    settings = LocalSettings(limits=Limits(grace_s=0.5))
    print("open", flush=True)
    runtime = LocalRuntime(folder / "gangs", ObjectsInMemory(), os.environ, settings)
    await runtime.open()
    done = {end.name for end in ledger.read()}
    for name in done & await runtime.names():
        await runtime.forget(name)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_start(runtime, plan, done))
        tasks.create_task(_keep_ends(runtime, ledger, done, len(plan)))
    await runtime.close()


async def _keep_ends(runtime: Runtime, ledger: Ledger, done: set[str], gangs: int) -> None:
    watch = runtime.watch()
    while len(done) < gangs:
        status = await anext(watch)
        if status.phase is Phase.ENDED and status.gang not in done:
            ledger.add(status)
            done.add(status.gang)
            await runtime.forget(status.gang)


async def _start(runtime: Runtime, plan: dict[str, Any], done: set[str]) -> None:
    for name, each in plan.items():
        if name not in done:
            made = gang(*each["command"], name=name)
            await runtime.start(made, everywhere(made))
            await asyncio.sleep(each["pause_s"])
            if each["stop"]:
                with suppress(GangNotFoundError):  # it has ended, and been forgotten
                    await runtime.stop(name, 0.2, "the plan says so")


if __name__ == "__main__":
    here = Path(sys.argv[1])
    asyncio.run(
        serve(here, json.loads((here / "plan.json").read_text()), Ledger(here / "ends.log"))
    )
