"""Misfits: why no set of nodes that are here could ever hold a gang."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.scheduler.engine.classes import role_of, shape_of
from gridloom_services.scheduler.engine.decisions import Misfit
from gridloom_services.scheduler.engine.fit import total_count
from gridloom_services.scheduler.engine.profile import packed
from gridloom_services.scheduler.engine.reach import fits_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.engine.classes import Role, Shape
    from gridloom_services.scheduler.engine.columns import Ints, Mask
    from gridloom_services.scheduler.engine.events import RoleRequest
    from gridloom_services.scheduler.engine.nodes import NodeTable


def misfit_of(
    requests: tuple[RoleRequest, ...], selector: Mapping[str, str], nodes: NodeTable
) -> Misfit | None:
    """Why a gang fits no set of nodes that are here, usable or not; None if it does."""
    for request in requests:
        for name, amount in request.resources.items():
            largest = _largest(name, nodes)
            if amount > largest:
                return Misfit(request.name, name, amount, largest)
    roles = [role_of(request, nodes.resources) for request in requests]
    return shape_misfit(shape_of(nodes.resources, roles, tuple(sorted(selector.items()))), nodes)


def shape_misfit(shape: Shape, nodes: NodeTable) -> Misfit | None:
    """Why a shape fits no set of nodes that are here, usable or not; None if it does."""
    here = nodes.labelled(shape.selector)
    capacity = nodes.capacity.data[:, : nodes.size].copy()
    if fits_whole(capacity, shape, here, packed(capacity, nodes)):
        return None
    for role in shape.roles:
        misfit = _role_misfit(role, capacity, here, nodes)
        if misfit is not None:
            return misfit
    role = max(shape.roles, key=lambda role: role.gang)
    return Misfit(role.name, "", role.gang, 0)


def _largest(resource: str, nodes: NodeTable) -> int:
    # Asking must not make a resource known: names come from anyone.
    if resource not in nodes.resources.names:
        return 0
    return int(nodes.capacity.data[nodes.resources.number(resource)].max())


def _role_misfit(role: Role, capacity: Ints, here: Mask, nodes: NodeTable) -> Misfit | None:
    names = nodes.resources.names
    if not here.any():
        return Misfit(role.name, "", role.gang, 0)
    for number, amount in role.need:
        largest = int(capacity[number][here].max())
        if largest < amount:
            return Misfit(role.name, names[number], amount, largest)
    holds = total_count(capacity, role, here)
    if holds >= role.gang:
        return None
    # The resource whose sum is scarcest beside what is asked; nodes hold whole replicas of it.
    number, amount = max(
        role.need, key=lambda need: need[1] / max(1, int(capacity[need[0]][here].sum()))
    )
    return Misfit(role.name, names[number], amount * role.gang, amount * holds)
