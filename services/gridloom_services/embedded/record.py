"""What the platform leaves in its home for others: where it is, and which port it had."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from gridloom.values import dataclass
from gridloom.version import PROTOCOL, VERSION

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class PlatformRecord:
    """The content of `platform.json`; `gridloom/home.py` reads it."""

    address: str
    pid: int
    started: float
    token_file: str
    version: str = VERSION
    protocol: int = PROTOCOL
    metrics_port: int | None = None
    socket: str = ""
    """Where programs of this user and machine reach it sooner; "": nowhere."""
    pipes: str = ""
    """Where they open streams of calls without gRPC; "": nowhere."""

    @classmethod
    def of_this_process(
        cls,
        address: str,
        token_file: Path,
        *,
        metrics_port: int | None = None,
        socket: str = "",
        pipes: str = "",
    ) -> PlatformRecord:
        """As from now."""
        begun = (address, os.getpid(), time.time(), str(token_file))
        return cls(*begun, metrics_port=metrics_port, socket=socket, pipes=pipes)

    def write(self, home: Path) -> None:
        """Atomically: a reader sees the whole of it, or none."""
        _replace(home / "platform.json", json.dumps(asdict(self)) + "\n")


def remove_record(home: Path) -> None:
    """Nobody shall find us any more."""
    (home / "platform.json").unlink(missing_ok=True)


def recorded_pid(home: Path) -> int | None:
    """The process that says it is ready; None if none does."""
    try:
        return int(json.loads((home / "platform.json").read_text("utf-8"))["pid"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def last_port(home: Path) -> int:
    """The port of the last time, so that jobs which outlived it find the next; 0 if unknown."""
    try:
        return int((home / "port").read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return 0


def remember_port(home: Path, address: str) -> None:
    """For the next start."""
    _replace(home / "port", address.rpartition(":")[2])


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8")
    draft.replace(path)
