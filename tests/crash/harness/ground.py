"""Where a seed happens: a home, perhaps on a disk of its own, and the client that works there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom.home import EmbeddedPlatform
from gridloom.segments import USED
from gridloom_services.objects.segments import memory_folder

from tests.crash.harness.relay import Relay
from tests.crash.power.disk import Disk, compiled
from tests.support.chaos import kill, platform_pid, processes_of
from tests.support.small_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

MEGABYTES = 96
# How long the platform waits for a worker beyond a time-out, and for a client: short, so that what
# stands still for longer does not make a seed long.
HUNG_AFTER_S = 1.0
CLIENT_PATIENCE_S = 1.0
_SHIM = Path(__file__).with_name("failing_fsync.c")


@dataclass
class Ground:
    """What blows fall on."""

    folder: Path
    dice: Random
    kinds: list[str]
    disk: Path | None = None
    relay: Relay | None = None
    shim: Path | None = None
    power: Disk | None = None
    recorder: Path | None = None
    client: subprocess.Popen[bytes] | None = None
    clients: int = 0
    blows: list[str] = field(default_factory=list)
    # What the disk did not keep.
    lost: list[str] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """The platform's."""
        return self.folder / "home"

    @property
    def memory(self) -> Path:
        """Where the platform's shared memory is, if it has made any."""
        return memory_folder(Path("/dev/shm"), self.home / "objects")

    def segments(self) -> list[Path]:
        """What lies there in use."""
        return sorted((self.memory / USED).glob("*"))

    @property
    def journal(self) -> Path:
        """What the clients wrote: never on the disk that gets full."""
        return self.folder.parent / f"{self.folder.name}.journal"

    @property
    def errors(self) -> Path:
        """What the clients complained of."""
        return self.journal.with_suffix(".stderr")

    @property
    def fsync_flag(self) -> Path:
        """Holds the pid of the process whose fsync fails."""
        return self.journal.with_suffix(".fsync")

    def environment(self) -> dict[str, str]:
        """For clients, and for the platform that one of them starts."""
        own = {
            "GRIDLOOM_OBJECTS_RESERVE_BYTES": str(4 << 20),
            "GRIDLOOM_FUNCTIONS_HUNG_AFTER_S": str(HUNG_AFTER_S),
            "GRIDLOOM_FUNCTIONS_CLIENT_PATIENCE_S": str(CLIENT_PATIENCE_S),
        }
        if self.relay is not None:
            own["CRASH_ADDRESS"] = self.relay.address
        if self.shim is not None:
            own |= {"LD_PRELOAD": str(self.shim), "CRASH_FSYNC_FAILS": str(self.fsync_flag)}
        if self.power is not None and self.recorder is not None:
            own |= self.power.environment(self.recorder)
        others = {k: v for k, v in os.environ.items() if not k.startswith("GRIDLOOM_")}
        return others | own

    def start_client(self) -> None:
        """The first, or the next one."""
        self.clients += 1
        words = [str(self.home), str(self.journal), *self.kinds]
        with self.errors.open("ab") as errors:
            self.client = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.harness.driver", *words],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )

    def revive(self) -> None:
        """Start the platform again where its clients do not: they have an address only."""
        platform = EmbeddedPlatform(self.home)
        # The port of one that was killed answers until all of its threads have ended.
        while platform_pid(self.home) is None and platform.running() is not None:
            time.sleep(0.005)
        if self.relay is not None:
            platform.start()

    def address(self) -> tuple[str, int] | None:
        """Where the platform listens now."""
        record = EmbeddedPlatform(self.home).record()
        if record is None:
            return None
        host, _, port = record.address.rpartition(":")
        return host, int(port)


@contextlib.contextmanager
def prepared(
    dice: Random, kinds: list[str], *, disk: bool, relay: bool, fsync: bool, power: bool
) -> Iterator[Ground]:
    """A ground with what this seed needs; all of it goes, and every process on it."""
    base = Path(tempfile.mkdtemp(prefix="gridloom-crash-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        folder = base / "ground"
        small = stack.enter_context(small_disk(folder, MEGABYTES)) if disk else None
        folder.mkdir(exist_ok=True)
        ground = Ground(folder, dice, kinds, small)
        stack.callback(_end_all, ground)
        if fsync:
            ground.shim = _compiled(base)
        if power:
            ground.power, ground.recorder = Disk(ground.home, base / "power"), compiled(base)
        if relay:
            ground.relay = stack.enter_context(Relay(ground.address))
            os.environ.update(ground.environment())
            ground.revive()
        yield ground


def _compiled(folder: Path) -> Path:
    library = folder / "failing_fsync.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(_SHIM), "-ldl"], check=True)
    return library


def _end_all(ground: Ground) -> None:
    if ground.client is not None:
        ground.client.kill()
        ground.client.wait()
    while (pid := platform_pid(ground.home)) is not None:
        kill(pid)
    for pid in processes_of(ground.home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        kill(pid)
    shutil.rmtree(ground.memory, ignore_errors=True)
