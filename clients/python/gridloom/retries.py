"""How often work is run again, by what it failed of."""

from __future__ import annotations

from dataclasses import fields

from gridloom import units
from gridloom.errors import InvalidRequestError
from gridloom.options import Spelled
from gridloom.values import dataclass


@dataclass(frozen=True, slots=True)
class Retries(Spelled):
    """Runs again after a failure of each class; None leaves the platform's own rule.

    The platform's rule: three times after a lost node (or worker), a preemption, an eviction, or
    where a cluster had no room after all, never after anything else. `backoff` is the pause before
    the first of them, doubled each time up to `max_backoff`.
    """

    error: int | None = None
    node_lost: int | None = None
    preempted: int | None = None
    out_of_memory: int | None = None
    time_limit: int | None = None
    evicted: int | None = None
    unschedulable: int | None = None
    backoff: units.Duration | None = None
    max_backoff: units.Duration | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.name.endswith("backoff"):
                units.seconds(value, field=f"retries.{field.name}")
            else:
                units.whole(value, field=f"retries.{field.name}", most=1000)

    @classmethod
    def of(cls, given: int | Retries | None) -> Retries:
        """What `retries=` was given: a number counts failures of the program's own."""
        if given is None:
            return cls()
        if isinstance(given, cls):
            return given
        if isinstance(given, int) and not isinstance(given, bool):
            return cls(error=units.whole(given, field="retries", most=1000))
        raise InvalidRequestError(
            f"retries cannot be {given!r}; give a number or gridloom.Retries(...)",
            field="retries",
            given=repr(given),
            allowed="a number or gridloom.Retries(error=1, node_lost=3, backoff='2s')",
        )
