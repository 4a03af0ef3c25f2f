"""Kills parts of an embedded platform at random points; finds what of it is alive."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

# How a process of each kind is recognised: by the name that it gives itself.
KINDS = {
    "supervisor": "gl-supervisor",
    "pool host": "gl-pool-host",
    "worker": "gl-worker",
}


def processes_of(home: Path) -> dict[int, str]:
    """Every living process that has to do with this home, by pid, with its name.

    Whoever was started for a home has its path in its arguments or its environment; this process
    itself does not count.
    """
    mark = os.fsencode(home)
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if mark in told and state != "Z":
                found[int(entry.name)] = (entry / "comm").read_text().strip()
    return found


def platform_pid(home: Path) -> int | None:
    """The platform of this home, if one runs."""
    for pid in processes_of(home):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"gridloom_services.embedded" in words:
                return pid
    return None


def kill(pid: int) -> bool:
    """SIGKILL; whether it was alive."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@dataclass
class Chaos:
    """Kills something of a platform now and then, until it is told to stop. Same seed, same plan.

    `victims` are kinds of `KINDS`, or "platform".
    """

    home: Path
    seed: int
    victims: tuple[str, ...]
    kills: int
    pause_s: tuple[float, float] = (0.05, 0.6)
    done: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        print(f"seed {self.seed}")
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        print(f"killed: {', '.join(self.done) or 'nothing'}")

    def _run(self) -> None:
        dice = random.Random(self.seed)
        while len(self.done) < self.kills and not self._stop.wait(dice.uniform(*self.pause_s)):
            victim = dice.choice(self.victims)
            pid = self._find(victim, dice)
            if pid is not None and kill(pid):
                self.done.append(victim)

    def _find(self, victim: str, dice: random.Random) -> int | None:
        if victim == "platform":
            return platform_pid(self.home)
        name = KINDS[victim]
        pids = sorted(pid for pid, comm in processes_of(self.home).items() if comm == name)
        return dice.choice(pids) if pids else None


def survivors(home: Path, patience_s: float) -> dict[int, str]:
    """What still lives of a home when it had this long to end."""
    ends_at = time.monotonic() + patience_s
    while (alive := processes_of(home)) and time.monotonic() < ends_at:
        time.sleep(0.05)
    return alive
