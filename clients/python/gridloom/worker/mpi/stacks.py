"""Where each rank is, when it has run for too long: its Python stack, or what the system knows."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom.worker.mpi.rank import STACK_SIGNAL
from gridloom.worker.supervision.processes import descendants

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gridloom.worker.mpi.folder import RankFolder

_PATIENCE_S = 1.0
_SPY_S = 5.0
_PAUSE_S = 0.01
# A frame as faulthandler writes it, and as py-spy does.
_TOLD = re.compile(r'\s*File "(.*)", line (\d+) in (.*)')
_SEEN = re.compile(r"\s+(\S+) \((.*\.py):(\d+)\)")
_OURS = ("gridloom/worker/", "<frozen runpy>")
# The outermost frame of a rank of ours.
_LAST = 'File "<string>", line 1 in <module>'


def rank_stacks(folder: RankFolder, *, are_ours: bool) -> dict[int, str]:
    """By rank, for those that run. `are_ours`: they run our own program, which says it itself."""
    running = {}
    for rank in folder.ranks:
        below = _program_of(folder.pid(rank))
        if below:
            running[rank] = below
    return _told(folder, running) if are_ours else _looked_at(running)


def place_of(stack: str) -> str:
    """The innermost place in a stack that is the user's, for a sentence: "step (solve.py:12)"."""
    for path, line, function in _frames(stack):
        if not any(part in path for part in _OURS):
            return f"{function} ({Path(path).name}:{line})"
    lines = stack.strip().splitlines()
    return lines[0] if lines else "unknown"


def _frames(stack: str) -> Iterable[tuple[str, str, str]]:
    """Path, line and function, the innermost first, of what faulthandler or py-spy wrote."""
    for line in stack.rstrip().removesuffix(_LAST).splitlines():
        if told := _TOLD.match(line):
            yield told[1], told[2], told[3]
        elif seen := _SEEN.match(line):
            yield seen[2], seen[3], seen[1]


def _program_of(shell: int | None) -> int | None:
    """The rank's own process, below its shell."""
    below = list(descendants(shell)) if shell is not None else []
    return below[0] if below else None


def _told(folder: RankFolder, running: dict[int, int]) -> dict[int, str]:
    for pid in running.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, STACK_SIGNAL)
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until and not all(_has_told(folder, rank) for rank in running):
        time.sleep(_PAUSE_S)
    return {
        rank: _text(folder.path / f"stack.{rank}") or _known_of(pid)
        for rank, pid in running.items()
    }


def _has_told(folder: RankFolder, rank: int) -> bool:
    """The dump ends with the outermost frame, which is that of the program itself."""
    return _text(folder.path / f"stack.{rank}").rstrip().endswith(_LAST)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _looked_at(running: dict[int, int]) -> dict[int, str]:
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    pythons = {rank: pid for rank, pid in running.items() if spy and _is_python(pid)}
    looks = dict(_spied(spy or "", pythons.items()))
    return {
        rank: looks[rank] if any(_frames(looks.get(rank, ""))) else _known_of(pid)
        for rank, pid in running.items()
    }


def _spied(spy: str, pythons: Iterable[tuple[int, int]]) -> Iterable[tuple[int, str]]:
    """All at once: each takes a moment."""
    begun = [
        (
            rank,
            subprocess.Popen(
                [spy, "dump", "--pid", str(pid)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ),
        )
        for rank, pid in pythons
    ]
    for rank, look in begun:
        try:
            yield rank, look.communicate(timeout=_SPY_S)[0]
        except subprocess.TimeoutExpired:
            look.kill()
            look.communicate()


def _is_python(pid: int) -> bool:
    try:
        return "python" in Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return False


def _known_of(pid: int) -> str:
    """Its program and what the system says that it does."""
    status = _text(Path(f"/proc/{pid}/status"))
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    state, name = fields.get("State", "gone"), fields.get("Name", "?")
    return f"{name} (process {pid}): {state}"
