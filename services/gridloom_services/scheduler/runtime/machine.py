"""What this machine has: processors that may be used, and memory."""

from __future__ import annotations

import os
import platform
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.scheduler.runtime.base import NodeCapacity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CGROUPS = Path("/sys/fs/cgroup")
# Above it a limit of version 1 means: none.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True)
class Claim:
    """What a local platform was told to offer; None: what the machine has."""

    cpus: float | None = None
    memory_bytes: int | None = None
    resources: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def local_node(name: str, claim: Claim) -> NodeCapacity:
    """Return the one node of a local runtime."""
    cpu, memory_bytes = usable_cpus(), usable_memory_bytes()
    asked_cpu = cpu if claim.cpus is None else round(1000 * claim.cpus)
    asked_memory = memory_bytes if claim.memory_bytes is None else claim.memory_bytes
    labels = {"os": platform.system().lower(), "arch": platform.machine(), "host": platform.node()}
    return NodeCapacity(
        name=name,
        capacity={"cpu": asked_cpu, "memory": asked_memory, **claim.resources},
        labels={**labels, **claim.labels},
        oversubscribed=asked_cpu > cpu or asked_memory > memory_bytes,
    )


def usable_cpus() -> int:
    """Thousandths of processors that this process may use: by affinity, and by cgroup quota."""
    allowed = 1000 * len(os.sched_getaffinity(0))
    return min([allowed, *_quotas()])


def usable_memory_bytes() -> int:
    """Bytes of memory that this process may use: the machine's, or its cgroup's if that is less."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_number(path) for path in _cgroup_files("memory.max", "memory/memory.limit_in_bytes")]
    return min([installed, *(limit for limit in limits if 0 < limit < _NO_LIMIT)])


def _quotas() -> Iterator[int]:
    for path in _cgroup_files("cpu.max", "cpu/cpu.cfs_quota_us"):
        words = path.read_text(encoding="ascii").split()
        period = path.with_name("cpu.cfs_period_us")
        if len(words) == 1:
            words.append(period.read_text(encoding="ascii"))
        if words[0].isdigit():  # neither "max" nor -1
            yield 1000 * int(words[0]) // int(words[1])


def _cgroup_files(unified: str, legacy: str) -> list[Path]:
    """Existing files with a limit: of this process's group and all above it, in both versions."""
    controller, _, name = legacy.partition("/")
    found: list[Path] = []
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        steps = Path(path.lstrip("/"))
        above = [steps, *steps.parents]
        if not controllers:
            found += [_CGROUPS / step / unified for step in above]
        elif controller in controllers.split(","):
            found += [_CGROUPS / controller / step / name for step in above]
    return [path for path in found if path.is_file()]


def _number(path: Path) -> int:
    text = path.read_text(encoding="ascii").strip()
    return int(text) if text.isdigit() else 0
