"""What is written down of a gang in its own object, so that another runtime can carry on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gridloom_services.scheduler.runtime.folders import gang_from_record
from gridloom_services.scheduler.runtime.kubernetes.manifests import (
    GANG_KEY,
    TOKEN_KEY,
    UNITS_KEY,
)
from gridloom_services.scheduler.runtime.kubernetes.units import units_from_text
from gridloom_services.scheduler.runtime.kubernetes.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.runtime.base import Gang
    from gridloom_services.scheduler.runtime.kubernetes.manifests import Manifest
    from gridloom_services.scheduler.runtime.units import Unit, Units

STOP_KEY = "stop.json"
_VERDICT = "verdict."
_UNIT_STOP = "stop."


@dataclass(frozen=True, slots=True)
class Stop:
    """That something is to end. The grace counts from when its sidecar hears of it."""

    grace_s: float
    reason: str

    def merged(self, other: Stop) -> Stop:
        """Return the reason of this one, the shorter grace of both."""
        return Stop(min(self.grace_s, other.grace_s), self.reason)

    def to_text(self) -> str:
        """Return it as it is written down, and as sidecars read it."""
        return json.dumps({"grace_s": self.grace_s, "reason": self.reason})

    @classmethod
    def from_text(cls, text: str) -> Stop:
        """Read back what `to_text` gave."""
        record = json.loads(text)
        return cls(record["grace_s"], record["reason"])


@dataclass(slots=True)
class GangRecord:
    """A gang, its units, and what became of it. `made`: units whose pods may have been made."""

    gang: Gang
    units: Units
    owner: Manifest
    made: set[str] = field(default_factory=set)
    stop: Stop | None = None
    unit_stops: dict[str, Stop] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    def stop_of(self, unit: Unit) -> Stop | None:
        """Return why a unit is to end, if it is: with its gang, or alone."""
        return self.stop or self.unit_stops.get(unit.name)

    @property
    def unmade(self) -> list[Unit]:
        """Return the units that still need a pod."""
        return [
            unit
            for name, unit in self.units.items()
            if name not in self.made and name not in self.verdicts and not self.stop_of(unit)
        ]


def read_record(owner: Manifest) -> GangRecord:
    """Read a gang's object.

    It is not written down whose pods were made, which would cost a request a gang: whoever finds
    the gang takes all for made, and what has no pod for lost. So nothing ever runs twice.
    """
    data: Mapping[str, str] = owner["data"]
    units = units_from_text(data[UNITS_KEY])
    gang = gang_from_record(json.loads(data[GANG_KEY]))
    return GangRecord(
        gang=replace(gang, token=data.get(TOKEN_KEY, "")),
        units=units,
        owner=owner,
        made=set(units),
        stop=Stop.from_text(data[STOP_KEY]) if STOP_KEY in data else None,
        unit_stops={
            name: Stop.from_text(data[_UNIT_STOP + name])
            for name in units
            if _UNIT_STOP + name in data
        },
        verdicts={
            name: Verdict.from_record(json.loads(data[_VERDICT + name]))
            for name in units
            if _VERDICT + name in data
        },
    )


def stop_change(stop: Stop) -> Manifest:
    """Return the change that says that the gang is to end."""
    return _change(STOP_KEY, stop.to_text())


def units_change(text: str, stops: Mapping[str, Stop]) -> Manifest:
    """Return the change that says what a resize asked for."""
    ends = {_UNIT_STOP + name: stop.to_text() for name, stop in stops.items()}
    return {"data": {UNITS_KEY: text, **ends}}


def verdict_change(unit: str, verdict: Verdict) -> Manifest:
    """Return the change that says how a unit ended."""
    return _change(_VERDICT + unit, json.dumps(verdict.to_record()))


def _change(key: str, value: str) -> dict[str, Any]:
    return {"data": {key: value}}
