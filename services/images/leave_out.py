#!/usr/bin/env python3
"""`leave_out.py FOLDER LIST NAME...`: remove distributions and what only they needed.

LIST is a file of what was asked for: that, and what it needs, stays in the folder. What is removed
goes with its metadata, so that a bill of materials does not name it.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def leave_out(folder: Path, asked: list[str], names: list[str]) -> list[str]:
    """Remove `names` from what was asked for; the names of all that went.

    What was asked for is said, not guessed from who needs whom: two may need each other.
    """
    present = {_normal(each.metadata["Name"]): each for each in distributions(path=[str(folder)])}
    kept: set[str] = set()
    ahead = [name for name in map(_named, asked) if name not in names]
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
    return {_named(requirement) for requirement in found.requires or ()}


def _named(requirement: str) -> str:
    """The distribution that a requirement is of."""
    name = _NAME.match(requirement)
    assert name is not None
    return _normal(name[0])


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
    asked = Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()
    gone = leave_out(Path(sys.argv[1]), asked, sys.argv[3:])
    sys.stdout.write(f"left out: {', '.join(gone)}\n")
