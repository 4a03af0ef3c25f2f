"""What a local gang consists of: units, each one supervisor with one folder.

A unit is one replica, or all replicas of a colocated role on the node that share a process. Pure
values: what should be there, and what each supervisor is told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING

from gridloom.values import dataclass
from gridloom.worker.supervision.handover import Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from gridloom_services.scheduler.runtime.base import Assignment, Gang, GangRole, Placement

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Unit:
    """One supervisor's replicas: all it ever had, and those that should be there now."""

    role: str
    node: str
    colocated: bool
    known: tuple[int, ...]
    wanted: tuple[int, ...]

    @property
    def log_index(self) -> int:
        """The replica that the unit is named after."""
        return self.known[0]

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.role}.{self.log_index}"

    def want(self, indices: Iterable[int]) -> Unit:
        """Return the same unit with these replicas wanted, known ones kept in their order."""
        wanted = tuple(sorted(indices))
        fresh = tuple(index for index in wanted if index not in self.known)
        return replace(self, known=self.known + fresh, wanted=wanted)


Units = Mapping[str, Unit]


def check_placement(gang: Gang, placement: Placement, node: str) -> None:
    """Refuse what cannot be placed here, and names that are no plain file names (ValueError)."""
    for name in (gang.name, *(role.name for role in gang.roles)):
        if not _SAFE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a gang or a role")
    roles = {role.name for role in gang.roles}
    for each in placement:
        if each.role not in roles:
            raise ValueError(f"{gang.name} has no role {each.role!r}; its roles: {sorted(roles)}")
        if each.node != node:
            raise ValueError(f"there is no node {each.node!r}; the only one is {node!r}")


def first_units(gang: Gang, placement: Placement) -> Units:
    """Return the units of a gang that starts."""
    units: dict[str, Unit] = {}
    for role in gang.roles:
        placed = sorted((each for each in placement if each.role == role.name), key=_by_index)
        units |= _fresh_units(role, placed)
    return units


def resized(
    units: Units, role: GangRole, assignments: Placement, is_over: Callable[[str], bool]
) -> Units:
    """Return the units with these replicas of the role wanted, and no others.

    New replicas of a colocated role join the process that is there (`is_over` says that it is not
    any more); otherwise each gets a unit. What a unit has had before is never started again.
    """
    wanted = {each.index for each in assignments}
    mine = {name: unit for name, unit in units.items() if unit.role == role.name}
    known = {index for unit in mine.values() for index in unit.known}
    fresh = sorted((each for each in assignments if each.index not in known), key=_by_index)
    changed = {name: unit.want(wanted.intersection(unit.known)) for name, unit in mine.items()}
    host = next((name for name in changed if role.colocate and not is_over(name)), None)
    if host is None:
        return {**units, **changed, **_fresh_units(role, fresh)}
    joined = changed[host].want((*changed[host].wanted, *(each.index for each in fresh)))
    return {**units, **changed, host: joined}


def members(units: Units) -> set[tuple[str, int]]:
    """Return every replica that the units ever had."""
    return {(unit.role, index) for unit in units.values() for index in unit.known}


def _by_index(assignment: Assignment) -> int:
    return assignment.index


def _fresh_units(role: GangRole, placed: list[Assignment]) -> dict[str, Unit]:
    if role.colocate and placed:
        shares = [tuple(each.index for each in placed)]
    else:
        shares = [(each.index,) for each in placed]
    units = [Unit(role.name, placed[0].node, role.colocate, share, share) for share in shares]
    return {unit.name: unit for unit in units}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the runtime sets for every supervisor. `env` gives way to what a job says itself."""

    grace_s: float = 10.0
    log_limit_bytes: int = 256 << 20
    env: Mapping[str, str] = field(default_factory=dict)


def unit_spec(gang: Gang, unit: Unit, folder: Path, marker: str, limits: Limits) -> Spec:
    """Return what the supervisor of a unit is told. `folder` is the unit's, absolute."""
    role = gang.role(unit.role)
    workdir = role.workdir or str(folder / "work")
    return Spec(
        unit=f"{gang.name}/{unit.name}",
        command=list(role.command),
        env={**limits.env, **_environment(gang, role, unit, workdir)},
        workdir=workdir,
        marker=marker,
        replicas=list(unit.wanted),
        colocate=unit.colocated,
        outputs=list(role.outputs),
        stdin=role.stdin is not None,
        memory_bytes=role.resources.get("memory", 0),
        time_limit_s=gang.time_limit_s,
        grace_s=limits.grace_s,
        log_limit_bytes=limits.log_limit_bytes,
    )


def _environment(gang: Gang, role: GangRole, unit: Unit, workdir: str) -> dict[str, str]:
    own = {
        "GRIDLOOM_JOB_ID": gang.job_id,
        "GRIDLOOM_ATTEMPT": str(gang.attempt),
        "GRIDLOOM_ROLE": role.name,
        "GRIDLOOM_REPLICA_INDEX": str(unit.log_index),
        "GRIDLOOM_REPLICAS": str(len(unit.known if unit.colocated else role.replicas)),
        "GRIDLOOM_NODE": unit.node,
        "GRIDLOOM_WORKDIR": workdir,
    }
    if gang.token:
        own["GRIDLOOM_TOKEN"] = gang.token
    # What a Python program prints is to be seen when it prints it.
    return {"PYTHONUNBUFFERED": "1", **gang.env, **role.env, **own}
