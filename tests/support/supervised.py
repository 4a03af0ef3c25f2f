"""Supervisors in tests: folders for them, started without a runtime."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from gridloom.worker.supervision import handover
from gridloom.worker.supervision.handover import End, Spec, State, Stop
from gridloom.worker.supervision.records import read_record, write_record, write_whole

from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 20.0
# In a script: waits until the test calls `go`.
UNTIL_GO = "while [ ! -e go ]; do sleep 0.01; done"


def is_gone(pid: int) -> bool:
    """There is no such process, or a zombie only."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - /proc
            return file.read().rpartition(b") ")[2][:1] in b"ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Supervised:
    """One folder, and the supervisor that works on it."""

    def __init__(self, root: Path, number: int) -> None:
        self.root = root
        self.path = root / f"job_{number}-a1" / "main.0"
        self.work = self.path / handover.WORK
        self.work.mkdir(parents=True)
        self.process: subprocess.Popen[bytes] | None = None

    def tell(self, *command: str, **spec: object) -> None:
        """Write down what to do."""
        defaults: dict[str, object] = {
            "unit": f"{self.path.parent.name}/main.0",
            "command": list(command),
            "env": {},
            "workdir": str(self.work),
            "marker": f"mark-{self.path.parent.name}",
            "replicas": [0],
        }
        told = Spec(**{**defaults, **spec})
        if told.colocate:
            self.want(*told.replicas)
        write_record(self.path / handover.SPEC, told._asdict(), durable=False)

    def want(self, *replicas: int) -> None:
        """Write down which replicas are wanted."""
        line = " ".join(map(str, replicas)) + "\n"
        write_whole(self.path / handover.REPLICAS, line.encode(), durable=False)

    def begin(self) -> subprocess.Popen[bytes]:
        """Start the supervisor, as the program that it is."""
        command = [sys.executable, "-m", "gridloom.worker.supervisor", str(self.path)]
        with (self.path / handover.ERRORS).open("ab") as errors:
            self.process = subprocess.Popen(command, stderr=errors, stdin=subprocess.DEVNULL)
        return self.process

    def run(self, *command: str, **spec: object) -> End:
        """Tell, start, wait."""
        self.tell(*command, **spec)
        self.begin()
        return self.wait()

    def wait(self) -> End:
        """The end, once the supervisor has ended."""
        assert self.process is not None
        code = self.process.wait(PATIENCE_S)
        end = self.end()
        assert code == 0, (self.path / handover.ERRORS).read_text()
        assert end is not None
        return end

    def end(self) -> End | None:
        """How it ended, if it has."""
        record = read_record(self.path / handover.END)
        return None if record is None else End.from_record(record)

    def running(self) -> State:
        """The state, once the command runs."""
        eventually_now((self.path / handover.STATE).exists)
        record = read_record(self.path / handover.STATE)
        assert record is not None
        return State.from_record(record)

    def stop(self, grace_s: float, reason: str = "asked", *, gang: bool = False) -> None:
        """Ask it to stop."""
        folder = self.path.parent if gang else self.path
        stop = Stop(reason, time.time() + grace_s)
        write_record(folder / handover.STOP, stop._asdict(), durable=False)
        self.poke()

    def go(self) -> None:
        """Let a script go on that waits for it."""
        (self.work / "go").touch()

    def poke(self) -> None:
        """Tell the supervisor that something has changed."""
        record = read_record(self.path / handover.PID)
        if record is not None:
            os.kill(record["pid"], signal.SIGUSR1)

    def stream(self, name: str = handover.STDOUT) -> str:
        """What the command printed."""
        return (self.path / name).read_text()

    def close(self) -> None:
        """End what still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
