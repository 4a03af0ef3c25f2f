"""What a pod's sidecar is told: once by its environment, later by files that the cluster changes.

It finds the command's streams and process number in the folder `run`, and answers there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

PID = "pid"
READY = "ready"
DELETED = "deleted"
MESSAGE = Path("/dev/termination-log")
RUN = Path("/gridloom/run")
ORDERS = Path("/gridloom/orders")
GANG = Path("/gridloom/gang/gang.json")
BIN = Path("/gridloom/bin")


@dataclass(frozen=True, slots=True)
class Order:
    """What to do beside one command. `replicas`: those that share it, empty where it is one's."""

    workdir: Path
    job_id: str
    outputs: tuple[str, ...] = ()
    time_limit_s: float | None = None
    grace_s: float = 10.0
    log_limit_bytes: int = 256 << 20
    replicas: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StopOrder:
    """That the command is to end: asked to at once, killed after the grace."""

    grace_s: float
    reason: str


def read_order(environment: Mapping[str, str]) -> Order:
    """Read what the environment says."""
    record = json.loads(environment["GRIDLOOM_SIDECAR"])
    return Order(
        workdir=Path(record["workdir"]),
        job_id=environment["GRIDLOOM_JOB_ID"],
        outputs=tuple(record["outputs"]),
        time_limit_s=record["time_limit_s"],
        grace_s=record["grace_s"],
        log_limit_bytes=record["log_limit_bytes"],
        replicas=tuple(record["replicas"]),
    )


def read_stop(folder: Path) -> StopOrder | None:
    """Read whether the command is to end."""
    text = _text(folder / "stop")
    if not text:
        return None
    record = json.loads(text)
    return StopOrder(record["grace_s"], record["reason"])


def read_replicas(folder: Path) -> tuple[int, ...] | None:
    """Read which replicas should be there; None: those of the start."""
    text = _text(folder / "replicas")
    return None if not text else tuple(map(int, json.loads(text)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
