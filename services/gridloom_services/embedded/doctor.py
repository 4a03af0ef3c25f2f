"""`gridloom doctor`: are the stores of a home sound, and is nothing of it left behind in memory?

It only reads, also beside a platform, unless it is asked to mend.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from gridloom import units
from gridloom.cli import exits
from gridloom.cli.screen import Column, Noun
from gridloom.cli.verb import Here, verb
from gridloom.errors import InvalidRequestError
from gridloom.home import EmbeddedPlatform

from gridloom_services.common.settings import load_settings
from gridloom_services.common.sqlite import integrity_problems
from gridloom_services.embedded.finding import Finding, Verdict
from gridloom_services.embedded.memory import others_memory, own_memory
from gridloom_services.objects.settings import ObjectsSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gridloom_services.common.schema import Schema
    from gridloom_services.objects.store.files import LocalFiles

# Where each service's tables are described.
_SCHEMAS = {
    "objects": "gridloom_services.objects.schema",
    "scheduler": "gridloom_services.scheduler.store.schema",
    "functions": "gridloom_services.functions.store.schema",
}
_PRIVATE_FILES = ("token", "secret")
_LITTLE_SPACE_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 20
_SHOWN = 5


_STYLES = {Verdict.OK: "green", Verdict.REMARK: "yellow", Verdict.PROBLEM: "red"}

FINDING: Noun[Finding] = Noun(
    "finding",
    columns=(
        Column("", lambda finding: (finding.verdict.value, _STYLES[finding.verdict])),
        Column("CHECK", lambda finding: finding.check),
        Column("FOUND", lambda finding: finding.detail),
    ),
    document=asdict,
    identifier=lambda finding: finding.check,
)


@verb
def doctor(
    here: Here,
    deep: Annotated[  # noqa: FBT002  # a flag of the command line
        bool, typer.Option("--deep", help="Read every stored object and compare its digest.")
    ] = False,
    mend: Annotated[  # noqa: FBT002  # as above
        bool, typer.Option("--mend", help="Give back shared memory that nobody needs any more.")
    ] = False,
) -> None:
    """Check the stores of the platform of this machine, and its shared memory.

    Changes nothing without --mend, and may run beside the platform. The exit code is 1 where a
    problem is found.
    """
    platform = here.embedded
    if platform is None:
        raise InvalidRequestError(f"{here.place.locator.name} is not of this machine's own")
    if not platform.home.is_dir():
        here.screen.say(f"there is nothing at {platform.home} yet")
        return
    with here.screen.busy(f"examining {platform.home}"):
        findings = list(examine(platform.home, deep=deep, mend=mend))
    here.screen.many(FINDING, findings)
    if any(finding.verdict is Verdict.PROBLEM for finding in findings):
        raise typer.Exit(exits.FAILED)


def examine(home: Path, *, deep: bool = False, mend: bool = False) -> Iterator[Finding]:
    """Everything that can be checked from outside, one finding after the other."""
    can_read: dict[str, bool] = {}
    yield _platform(home)
    for name in _PRIVATE_FILES:
        yield from _privacy(home / name)
    for service, module in _SCHEMAS.items():
        path = home / service / f"{service}.db"
        if path.exists():
            found = list(_database(service, path, importlib.import_module(module).SCHEMA))
            yield from found
            can_read[service] = found[0].verdict is not Verdict.PROBLEM
    if can_read.get("objects"):
        yield _contents(home / "objects", deep=deep)
        yield from _memory(home, mend=mend)
    yield _space(home)


def _platform(home: Path) -> Finding:
    platform = EmbeddedPlatform(home)
    record, running = platform.record(), platform.running()
    if running is not None:
        detail = f"runs on {running.address} (pid {running.pid})"
        return Finding("platform", Verdict.OK, detail)
    if record is not None:
        detail = f"has died (pid {record.pid}); the next `gridloom up` takes its work over"
        return Finding("platform", Verdict.REMARK, detail)
    return Finding("platform", Verdict.OK, "does not run")


def _privacy(path: Path) -> Iterator[Finding]:
    """A secret that others can read is none."""
    if not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        detail = f"mode {mode:04o}: others may read it; chmod 600 {path}"
        yield Finding(path.name, Verdict.PROBLEM, detail)
    else:
        yield Finding(path.name, Verdict.OK, f"mode {mode:04o}")


def _database(service: str, path: Path, schema: Schema) -> Iterator[Finding]:
    """SQLite's own full check, broken references, and the revision."""
    problems = integrity_problems(path) or _broken_references(path)
    if problems:
        shown = "; ".join(problems[:_SHOWN])
        detail = f"{path} is damaged ({shown}): put a backup in its place, or move it away"
        yield Finding(service, Verdict.PROBLEM, detail)
        return
    size = units.format_bytes(path.stat().st_size)
    found = _revision(path, schema.version_table)
    if found == schema.head:
        yield Finding(service, Verdict.OK, f"sound, {size}, revision {found}")
    elif found in schema.revisions():
        detail = f"sound, {size}, revision {found}: the next start migrates it to {schema.head}"
        yield Finding(service, Verdict.REMARK, detail)
    else:
        detail = f"revision {found}, this version knows those up to {schema.head}: use a newer one"
        yield Finding(service, Verdict.PROBLEM, detail)


def _broken_references(path: Path) -> list[str]:
    with _reading(path) as connection:
        rows = connection.execute("PRAGMA foreign_key_check").fetchmany(_SHOWN)
    return [f"{table} row {row} names what is not in {parent}" for table, row, parent, _ in rows]


def _revision(path: Path, table: str) -> str:
    with _reading(path) as connection:
        try:
            row = connection.execute(f"SELECT version_num FROM {table}").fetchone()  # noqa: S608
        except sqlite3.OperationalError:
            return "none"
    return str(row[0]) if row else "none"


def _contents(folder: Path, *, deep: bool) -> Finding:
    """Every object that the table names is there, whole; with `deep` also the right bytes."""
    from gridloom_services.objects.store.files import LocalFiles

    files = LocalFiles(folder)
    wrong = _right_bytes(files) if deep else _right_size(files)
    listed = _listed(folder / "objects.db")
    bad = [digest for digest, size in listed.items() if wrong(digest, size)]
    if bad:
        # What was removed while we looked has no row any more.
        bad = sorted(set(bad) & set(_listed(folder / "objects.db")))
    litter = sum(1 for digest in files.digests() if digest not in listed)
    if bad:
        detail = f"{len(bad)} of {len(listed)} are missing or wrong: {', '.join(bad[:_SHOWN])}"
        return Finding("contents", Verdict.PROBLEM, detail)
    rest = f"; {litter} without a row, which the platform sweeps up" if litter else ""
    verdict = Verdict.REMARK if litter else Verdict.OK
    return Finding("contents", verdict, f"{len(listed)} objects, all there{rest}")


def _listed(path: Path) -> dict[str, int]:
    with _reading(path) as connection:
        return dict(
            connection.execute("SELECT digest, size_bytes FROM objects WHERE content IS NULL")
        )


def _right_size(files: LocalFiles) -> Callable[[str, int], bool]:
    return lambda digest, size: files.size(digest) != size


def _right_bytes(files: LocalFiles) -> Callable[[str, int], bool]:
    def is_wrong(digest: str, size: int) -> bool:
        if files.size(digest) != size:
            return True
        reader, found = files.reader(digest), hashlib.sha256()
        with closing(reader):
            for offset in range(0, size, _CHUNK_BYTES):
                found.update(reader.read(offset, _CHUNK_BYTES))
        return f"sha256:{found.hexdigest()}" != digest

    return is_wrong


def _memory(home: Path, *, mend: bool) -> Iterator[Finding]:
    root = load_settings("objects", ObjectsSettings, os.environ).memory_folder
    if root:
        runs = EmbeddedPlatform(home).running() is not None
        yield own_memory(Path(root), home / "objects", mend=mend and not runs, runs=runs)
        yield from others_memory(Path(root), mend=mend)


def _space(home: Path) -> Finding:
    free = shutil.disk_usage(home).free
    verdict = Verdict.OK if free > _LITTLE_SPACE_BYTES else Verdict.REMARK
    return Finding("disk", verdict, f"{units.format_bytes(free)} free")


def _reading(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True))
