#!/usr/bin/env python3
"""`leave_out.py FOLDER NAME...`: remove distributions, and what only they needed, from a folder.

What is removed goes with its metadata, so that a bill of materials does not name it.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def leave_out(folder: Path, names: list[str]) -> list[str]:
    """Remove them; the names of all that went. What nobody needed to begin with stays."""
    present = {_normal(each.metadata["Name"]): each for each in distributions(path=[str(folder)])}
    roots = present.keys() - set().union(*map(_needs, present.values()))
    kept: set[str] = set()
    ahead = list(roots - set(names))
    while ahead:
        name = ahead.pop()
        if name in present and name not in kept and name not in names:
            kept.add(name)
            ahead += _needs(present[name])
    for name in present.keys() - kept:
        _remove(folder, present[name])
    return sorted(present.keys() - kept)


def _needs(found: Distribution) -> set[str]:
    """Those of its extras too: rather keep one too many."""
    needs = set()
    for requirement in found.requires or ():
        name = _NAME.match(requirement)
        assert name is not None
        needs.add(_normal(name[0]))
    return needs


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _remove(folder: Path, found: Distribution) -> None:
    for top in {file.parts[0] for file in found.files or ()} - {"..", "bin", "__pycache__"}:
        path = folder / top
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    gone = leave_out(Path(sys.argv[1]), sys.argv[2:])
    sys.stdout.write(f"left out: {', '.join(gone)}\n")
