"""What large arguments and results reach on the platform's own machine, beside its limits.

`python -m tests.bench.own payloads [--quick]`. An array of 100 MiB goes to a function and comes
back: each time another one, so that nothing is there already, and on disk before the call is
accepted. In turns with it, the limits that it cannot pass: copying the array, digesting it, and
writing it to a file with fdatasync. The rate counts the array once, though it goes both ways.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom
import numpy as np

from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 100
REPETITIONS = 7
QUICK_REPETITIONS = 3

Figures = dict[str, list[float]]


def echo(array: np.ndarray) -> np.ndarray:
    """The call that is measured."""
    return array


def changed(array: np.ndarray) -> np.ndarray:
    """The same with a result that has to be stored, too."""
    array += 1
    return array


def measured(*, quick: bool) -> Iterator[tuple[str, float, str]]:
    """On a platform of its own: medians, then the slowest and the fastest."""
    repetitions = QUICK_REPETITIONS if quick else REPETITIONS
    with tempfile.TemporaryDirectory(prefix="gridloom-bench-") as name:
        home = Home(Path(name) / "home")
        try:
            with gridloom.connect(home=home.path) as client:
                found = _in_turns(client, Path(name) / "file", repetitions)
        finally:
            home.close()
    for name, rates in found.items():
        yield name, statistics.median(rates), "MiB/s"
        yield f"  {name}, slowest", min(rates), "MiB/s"
        yield f"  {name}, fastest", max(rates), "MiB/s"


def _in_turns(client: gridloom.Client, file: Path, repetitions: int) -> Figures:
    functions = {
        f"{MIB} MiB there and back, on disk": gridloom.function(echo),
        f"{MIB} MiB there and back changed, on disk": gridloom.function(changed),
    }
    for function in functions.values():
        function.submit(np.zeros(1)).result(120)
    found: Figures = defaultdict(list)
    for _ in range(repetitions):
        array = np.frombuffer(bytearray(os.urandom(MIB << 20)), np.uint8)
        target = np.ones_like(array)
        for name, limit in _limits(array, target, file).items():
            found[name].append(_rate(limit))
        for name, function in functions.items():
            array += 1  # never seen before
            found[name].append(_rate(partial(_sent_and_back, function, array)))
    return found


def _sent_and_back(function: gridloom.Function, array: np.ndarray) -> None:
    function.submit(array).result(300)


def _limits(array: np.ndarray, target: np.ndarray, file: Path) -> dict[str, Callable[[], object]]:
    return {
        "limit: copied": lambda: np.copyto(target, array),
        "limit: digested": lambda: hashlib.sha256(array).digest(),
        "limit: written and synced": lambda: _write(array, file),
    }


def _write(array: np.ndarray, file: Path) -> None:
    number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    view = memoryview(array)
    while view:
        view = view[os.write(number, view) :]
    os.fdatasync(number)
    os.close(number)


def _rate(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return MIB / (time.perf_counter() - began)
