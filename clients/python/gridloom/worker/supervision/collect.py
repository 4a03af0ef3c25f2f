"""Gather the files that a command was asked to leave behind."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom.worker.supervision.handover import CollectedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def collect(
    workdir: Path, patterns: Iterable[str], into: Path, *, link: bool
) -> list[CollectedFile]:
    """Put a copy of each file that matches into the folder `into`, under its path in `workdir`.

    A pattern that matches a folder means everything below it; what matches nothing is left out, and
    so is what is no plain file, and what lies outside `workdir` (by "..", by an absolute path, or
    by a link). With `link` copies are hard links: for a folder that nobody writes to any more.
    Raises OSError where a copy cannot be made (a full disk).
    """
    home = workdir.resolve()
    found: dict[str, CollectedFile] = {}
    for path in _matches(workdir, patterns):
        name = path.relative_to(workdir).as_posix()
        if name not in found and _is_inside(path, home):
            found[name] = _take(path, name, into, link=link)
    return [found[name] for name in sorted(found)]


def find(workdir: Path, patterns: Iterable[str]) -> list[CollectedFile]:
    """Return the files that `collect` would take, and leave them where they are."""
    home = workdir.resolve()
    found: dict[str, CollectedFile] = {}
    for path in _matches(workdir, patterns):
        name = path.relative_to(workdir).as_posix()
        if name not in found and _is_inside(path, home):
            status = path.stat()
            found[name] = CollectedFile(name, status.st_size, stat.S_IMODE(status.st_mode))
    return [found[name] for name in sorted(found)]


def is_inside_pattern(pattern: str) -> bool:
    """It cannot lead out of the folder by what it says itself."""
    path = Path(pattern)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _matches(workdir: Path, patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in filter(is_inside_pattern, patterns):
        yield from _expanded(workdir, _with_lone_stars(pattern))


def _with_lone_stars(pattern: str) -> str:
    # "**" means folders only as a whole part of a path; "a**" is "a*", as Python has it from 3.13.
    return "/".join(part if part == "**" else _lone(part) for part in pattern.split("/"))


def _lone(part: str) -> str:
    while "**" in part:
        part = part.replace("**", "*")
    return part


def _expanded(workdir: Path, pattern: str) -> Iterator[Path]:
    for path in workdir.glob(pattern):
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)
        else:
            yield path


def _below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)


def _is_inside(path: Path, home: Path) -> bool:
    with contextlib.suppress(OSError, RuntimeError):  # a loop of links
        real = path.resolve(strict=True)
        return real.is_relative_to(home) and stat.S_ISREG(real.stat().st_mode)
    return False


def _take(path: Path, name: str, into: Path, *, link: bool) -> CollectedFile:
    target = into / name
    target.parent.mkdir(parents=True, exist_ok=True)
    source = path.resolve()
    target.unlink(missing_ok=True)
    if not link or not _linked(source, target):
        import shutil  # slow, and seldom needed

        shutil.copyfile(source, target)
    status = source.stat()
    return CollectedFile(name, status.st_size, stat.S_IMODE(status.st_mode))


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        return False
    return True
