"""What was measured, one JSON object a line, so that a run which was broken off can be resumed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK_S = 0.3


@dataclass(frozen=True)
class Figure:
    """One value; `busy` is how many processors others kept busy just before."""

    contestant: str
    measure: str
    value: float
    unit: str
    repetition: int
    busy: float


class Record:
    """A file of figures."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.unlink(missing_ok=True)
        self._path = path

    def add(self, figure: Figure) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(figure)) + "\n")

    def figures(self) -> list[Figure]:
        if not self._path.exists():
            return []
        return [Figure(**json.loads(line)) for line in self._path.read_text().splitlines()]

    def has(self, contestant: str, kinds: list[str], repetition: int) -> bool:
        """Everything of this repetition is there; its last line says so."""
        done = Figure(contestant, f"done: {' '.join(kinds)}", 0, "", repetition, 0)
        return any(
            (f.contestant, f.measure, f.repetition) == done_key(done) for f in self.figures()
        )


def done_key(figure: Figure) -> tuple[str, str, int]:
    return figure.contestant, figure.measure, figure.repetition


def busy_processors() -> float:
    """How many processors are busy with something else right now."""
    begin = _idle_s()
    time.sleep(_LOOK_S)
    idle = (_idle_s() - begin) / _LOOK_S
    return max(0.0, (os.cpu_count() or 1) - idle)


def _idle_s() -> float:
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """Its kind: processors, memory, kernel."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in info if line.startswith("model name")), "?")
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{os.cpu_count()} processors ({model}), {memory_gib:.0f} GiB,"
        f" Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    )


def versions(python: str, names: tuple[str, ...]) -> Iterator[str]:
    """Of the packages that are installed for an interpreter."""
    code = (
        "import importlib.metadata as m, sys\n"
        "known = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(*(f'{n} {known[n]}' for n in sys.argv[1:] if n in known), sep='\\n')"
    )
    done = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=False)
    yield from done.stdout.splitlines()


def own_version() -> str:
    return importlib.metadata.version("gridloom-platform")
