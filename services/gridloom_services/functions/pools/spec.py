"""A pool's specification as a value: what is checked of it, and what it means."""

from __future__ import annotations

import hashlib
import re
from dataclasses import field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_IDLE_TIMEOUT_S = 60.0
DEFAULT_MILLICPUS = 1000
MOST_WORKERS = 10_000
MOST_SLOTS = 10_000
PYTHONS = ("3.11", "3.12", "3.13")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


class Concurrency(IntEnum):
    """How the workers of a pool run calls; the numbers are those of the protocol."""

    PROCESSES = 1
    THREADS = 2
    ASYNCIO = 3


SLOTS = {Concurrency.PROCESSES: 1, Concurrency.THREADS: 32, Concurrency.ASYNCIO: 256}


class PoolState(IntEnum):
    """Where a pool stands; the numbers are those of the protocol."""

    IDLE = 1
    STARTING = 2
    RUNNING = 3
    CLOSING = 4
    CLOSED = 5
    BROKEN = 6

    @property
    def is_open(self) -> bool:
        """Calls may be sent to it."""
        return self in {PoolState.IDLE, PoolState.STARTING, PoolState.RUNNING}


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """What a pool's workers are. `body` is the specification as it travels to the pool's host.

    `workers` 0: as many as there is room for. Resources are of one worker: "cpu" in thousandths,
    "memory" in bytes. `objects` are digests that its workers need.
    """

    body: bytes
    project: str
    name: str = ""
    queue: str = ""
    workers: int = 0
    min_workers: int = 0
    concurrency: Concurrency = Concurrency.PROCESSES
    slots: int = 1
    resources: Mapping[str, int] = field(default_factory=dict)
    idle_timeout_s: float = DEFAULT_IDLE_TIMEOUT_S
    python: str = ""
    python_version: str = ""
    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    time_limit_s: float | None = None
    objects: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The same for equal specifications of a project: what shares an automatic pool."""
        return hashlib.sha256(self.project.encode() + b"\0" + self.body).hexdigest()


def checked(spec: PoolSpec) -> PoolSpec:
    """The specification with its defaults; an InvalidRequestError names what cannot be."""
    slots = spec.slots or SLOTS[spec.concurrency]
    _check_range("workers", spec.workers, 0, MOST_WORKERS)
    _check_range("min_workers", spec.min_workers, 0, spec.workers or MOST_WORKERS)
    _check_range("slots", slots, 1, MOST_SLOTS)
    if spec.concurrency is Concurrency.PROCESSES and slots != 1:
        _refuse("slots", slots, '1 where concurrency is "processes": raise workers instead')
    if spec.idle_timeout_s < 0:
        _refuse("idle_timeout", spec.idle_timeout_s, "0 s or more")
    for name, amount in spec.resources.items():
        if amount < 0:
            _refuse(f"resources.{name}", amount, "0 or more")
    if spec.name and not _NAME.fullmatch(spec.name):
        _refuse("name", spec.name, "up to 63 letters, digits and any of _.- between them")
    if spec.python_version and spec.python_version not in PYTHONS:
        _refuse("python_version", spec.python_version, ", ".join(PYTHONS))
    resources = {"cpu": DEFAULT_MILLICPUS, **spec.resources}
    return replace(spec, slots=slots, resources=resources)


def _check_range(name: str, given: int, least: int, most: int) -> None:
    if not least <= given <= most:
        _refuse(name, given, f"from {least:,} to {most:,}")


def _refuse(name: str, given: object, allowed: str) -> None:
    raise InvalidRequestError(
        f"{name} of a pool cannot be {given!r}; allowed: {allowed}",
        field=name,
        given=given,
        allowed=allowed,
    )
