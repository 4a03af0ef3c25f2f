"""Which pods a gang consists of: one a replica, or one a node for replicas that share a process.

A pod's size is fixed when it is made: what a colocated role grows by gets pods of its own.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from gridloom.worker.hosts import Host, hosts_to_text

from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.units import Unit, Units

if TYPE_CHECKING:
    from collections.abc import Collection

    from gridloom_services.scheduler.runtime.base import Gang, GangRole, Placement


def check_placement(gang: Gang, placement: Placement, nodes: Collection[str]) -> None:
    """Refuse roles and nodes that do not exist (ValueError)."""
    roles = {role.name for role in gang.roles}
    for each in placement:
        if each.role not in roles:
            raise ValueError(f"{gang.name} has no role {each.role!r}; its roles: {sorted(roles)}")
        if each.node not in nodes:
            raise ValueError(f"there is no node {each.node!r}")


def first_units(gang: Gang, placement: Placement) -> Units:
    """Return the units of a gang that starts, role by role."""
    units: dict[str, Unit] = {}
    for role in gang.roles:
        placed = tuple(each for each in placement if each.role == role.name)
        units |= _fresh_units(role, placed)
    return units


def resized(units: Units, role: GangRole, assignments: Placement) -> Units:
    """Return the units with these replicas of the role wanted, and no others.

    What a unit has had before is never started again.
    """
    wanted = {each.index for each in assignments}
    changed = {
        name: unit.want(wanted.intersection(unit.known)) if unit.role == role.name else unit
        for name, unit in units.items()
    }
    known = {index for unit in units.values() if unit.role == role.name for index in unit.known}
    fresh = tuple(each for each in assignments if each.index not in known)
    return {**changed, **_fresh_units(role, fresh)}


def _fresh_units(role: GangRole, placed: Placement) -> dict[str, Unit]:
    shares: dict[tuple[str, int], list[int]] = {}
    for each in sorted(placed, key=lambda one: one.index):
        shares.setdefault((each.node, -1 if role.colocate else each.index), []).append(each.index)
    units = [
        Unit(role.name, node, role.colocate, tuple(share), tuple(share))
        for (node, _), share in shares.items()
    ]
    return {unit.name: unit for unit in units}


def hosts_text(gang: Gang, units: Units, role: str) -> str:
    """Return where a role has its pods, as they are told; empty where they need not know.

    That is so of roles whose replicas have a pod each, and of those that have only one pod.
    """
    mine = [unit for unit in units.values() if unit.role == role and unit.colocated and unit.known]
    if len(mine) < 2:  # noqa: PLR2004  # itself alone
        return ""
    return hosts_to_text(
        Host(names.host_address(gang.name, unit), unit.node, unit.known) for unit in mine
    )


def units_to_text(units: Units) -> str:
    """Write units down, in their order."""
    return json.dumps([asdict(unit) for unit in units.values()], separators=(",", ":"))


def units_from_text(text: str) -> Units:
    """Read what `units_to_text` wrote."""
    units = [
        Unit(**{**each, "known": tuple(each["known"]), "wanted": tuple(each["wanted"])})
        for each in json.loads(text)
    ]
    return {unit.name: unit for unit in units}
