"""Whether what failed is tried again, and when."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from gridloom_services.scheduler.job import Tries
from gridloom_services.scheduler.states import FailureClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.spec import RetryPolicy, Role

MEMORY = "memory"
# Far more doublings than any pause survives; a bound for the shift below.
_MOST_DOUBLINGS = 40


def next_try(
    policy: RetryPolicy, tries: Tries, failure: FailureClass, now_us: int, *, can_grow: bool
) -> Tries | None:
    """Return what has been used once this failure is tried again; None: it is not.

    Each class has its own number of retries; the pause doubles with every retry of any class. What
    ran out of memory gets twice as much, and is not tried again where no node has more.
    """
    used = tries.used.get(failure, 0)
    if used >= policy.retries.get(failure, 0):
        return None
    out_of_memory = failure is FailureClass.OUT_OF_MEMORY
    if out_of_memory and not can_grow:
        return None
    doublings = min(sum(tries.used.values()), _MOST_DOUBLINGS)
    pause_us = min(policy.backoff_us << doublings, policy.max_backoff_us)
    return Tries(
        attempts=tries.attempts + 1,
        used=MappingProxyType({**tries.used, failure: used + 1}),
        not_before_us=now_us + pause_us,
        memory_factor=tries.memory_factor * (2 if out_of_memory else 1),
    )


def grown_roles(
    roles: tuple[Role, ...], memory_factor: int, largest_memory: int
) -> tuple[Role, ...]:
    """Return the roles with their memory multiplied, each up to the largest node's."""
    if memory_factor == 1:
        return roles
    return tuple(
        replace(role, resources=_grown(role.resources, memory_factor, largest_memory))
        for role in roles
    )


def _grown(resources: Mapping[str, int], factor: int, largest: int) -> Mapping[str, int]:
    asked = resources.get(MEMORY, 0)
    if not asked:
        return resources
    # What was accepted fits some node; where that node has left, the wish stays as it was.
    return MappingProxyType({**resources, MEMORY: max(asked, min(asked * factor, largest))})


def can_grow(roles: tuple[Role, ...], memory_factor: int, largest_memory: int) -> bool:
    """Say whether doubling once more gives any role more memory than it has now."""
    now = grown_roles(roles, memory_factor, largest_memory)
    return now != grown_roles(roles, 2 * memory_factor, largest_memory)
