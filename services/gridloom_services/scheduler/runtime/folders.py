"""Where a local runtime keeps its gangs, and how it writes them down.

    ROOT/lock                held by the runtime that is open
    ROOT/notify              socket: supervisors say that something has changed
    ROOT/GANG/gang.json      the gang, its units at the start, the run of the machine; once, durably
    ROOT/GANG/units.json     the units since the last resize; durably
    ROOT/GANG/stop.json      that it is to end; durably
    ROOT/GANG/ROLE.INDEX/    one unit: see `gridloom.worker.supervision.handover`; and
        stored.json          the outputs, once they are stored; durably

A gang exists from the moment that its gang.json does until its folder is renamed to go.
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from gridloom.values import dataclass
from gridloom.worker.supervision import handover
from gridloom.worker.supervision.processes import boot_id
from gridloom.worker.supervision.records import read_record, sync_folder, write_record

from gridloom_services.scheduler.runtime.base import (
    Gang,
    GangRole,
    InputFile,
    OutputFile,
    Secret,
    Volume,
)
from gridloom_services.scheduler.runtime.units import Unit, Units

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gridloom.worker.supervision.handover import Stop

_GANG = "gang.json"
_UNITS = "units.json"
_STORED = "stored.json"
_GOING = ".going-"


@dataclass(frozen=True, slots=True)
class Stored:
    """A unit's outputs in the object store; `failure` says why they are not there."""

    files: tuple[OutputFile, ...] = ()
    failure: str = ""


class UnitFolder:
    """The files of one unit."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def end(self) -> handover.End | None:
        """How it ended, if that is known."""
        record = read_record(self.path / handover.END)
        return None if record is None else handover.End.from_record(record)

    def state(self) -> handover.State | None:
        """How it runs, if its supervisor said so."""
        record = read_record(self.path / handover.STATE)
        return None if record is None else handover.State.from_record(record)

    def supervisor(self) -> handover.Identity | None:
        """Who began it. Nobody: its command never started."""
        record = read_record(self.path / handover.PID)
        return None if record is None else handover.Identity(**record)

    def spec(self) -> handover.Spec | None:
        """What it was told."""
        record = read_record(self.path / handover.SPEC)
        return None if record is None else handover.spec_from_record(record)

    def write_spec(self, spec: handover.Spec) -> None:
        """Tell it what to do."""
        write_record(self.path / handover.SPEC, spec._asdict(), durable=False)

    def stop(self) -> Stop | None:
        """That it is to end, if that was asked of this unit alone."""
        return handover.stop_from_record(read_record(self.path / handover.STOP))

    def write_stop(self, stop: Stop) -> None:
        """Keep that it is to end."""
        write_record(self.path / handover.STOP, stop._asdict(), durable=True)

    def stored(self) -> Stored | None:
        """Its outputs, if they are stored."""
        record = read_record(self.path / _STORED)
        if record is None:
            return None
        return Stored(tuple(OutputFile(**each) for each in record["files"]), record["failure"])

    def write_stored(self, stored: Stored) -> None:
        """Note that its outputs are stored, and let go of the copies here."""
        write_record(self.path / _STORED, asdict(stored), durable=True)
        shutil.rmtree(self.path / handover.OUTPUTS, ignore_errors=True)

    def errors(self) -> str:
        """The last line that its supervisor had to complain about."""
        try:
            text = (self.path / handover.ERRORS).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return text.strip().rpartition("\n")[2]


class GangFolder:
    """The files of one gang."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def unit(self, name: str) -> UnitFolder:
        """One of its units."""
        return UnitFolder(self.path / name)

    def create(self, gang: Gang, units: Units) -> None:
        """Make the gang exist, for good once this returns. OSError: it does not exist."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        record = {"gang": asdict(gang), "units": _units_record(units), "boot_id": boot_id()}
        write_record(self.path / _GANG, record, durable=True)
        sync_folder(self.path.parent)

    def read(self) -> tuple[Gang, Units, bool] | None:
        """The gang, its units, and whether it began in this run of the machine."""
        record = read_record(self.path / _GANG)
        if record is None:
            return None
        units = read_record(self.path / _UNITS) or record["units"]
        return gang_from_record(record["gang"]), _units(units), record["boot_id"] == boot_id()

    def write_units(self, units: Units) -> None:
        """Keep what a resize asked for."""
        write_record(self.path / _UNITS, _units_record(units), durable=True)

    def stop(self) -> Stop | None:
        """That it is to end, if it is."""
        return handover.stop_from_record(read_record(self.path / handover.STOP))

    def write_stop(self, stop: Stop) -> None:
        """Keep that it is to end."""
        write_record(self.path / handover.STOP, stop._asdict(), durable=True)

    def remove(self) -> None:
        """Make the gang exist no more, then take its files away."""
        if self.path.exists():
            going = self.path.with_name(f"{_GOING}{secrets.token_hex(8)}")
            self.path.rename(going)
            sync_folder(self.path.parent)
            shutil.rmtree(going, ignore_errors=True)


class Root:
    """The folder of a runtime."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def gang(self, name: str) -> GangFolder:
        """One gang's folder."""
        return GangFolder(self.path / name)

    def prepare(self) -> None:
        """Make the folder, and finish removals that were cut short."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.path.glob(f"{_GOING}*"):
            shutil.rmtree(path, ignore_errors=True)

    def gangs(self) -> Iterator[GangFolder]:
        """Every folder of a gang, in the order of their names."""
        for path in sorted(self.path.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                yield GangFolder(path)


def _units_record(units: Units) -> dict[str, Any]:
    return {name: asdict(unit) for name, unit in units.items()}


def _units(record: dict[str, Any]) -> Units:
    return {
        name: Unit(**{**each, "known": tuple(each["known"]), "wanted": tuple(each["wanted"])})
        for name, each in record.items()
    }


def gang_from_record(record: dict[str, Any]) -> Gang:
    """Read back what `asdict` made of a gang, by this version or another."""
    return Gang(**{**_fields(Gang, record), "roles": tuple(map(_role, record["roles"]))})


def _role(record: dict[str, Any]) -> GangRole:
    parts: dict[str, Any] = {
        "replicas": tuple(record["replicas"]),
        "command": tuple(record["command"]),
        "outputs": tuple(record["outputs"]),
        "files": tuple(InputFile(**each) for each in record["files"]),
        "volumes": tuple(Volume(**each) for each in record["volumes"]),
        "secrets": tuple(Secret(**each) for each in record["secrets"]),
    }
    if record.get("stdin"):  # not in what an older version wrote
        parts["stdin"] = InputFile(**record["stdin"])
    return GangRole(**{**_fields(GangRole, record), **parts})


def _fields(kind: type[Any], record: dict[str, Any]) -> dict[str, Any]:
    """What this version knows of a record that another version may have written."""
    return {each.name: record[each.name] for each in fields(kind) if each.name in record}
