"""What large arguments and results reach on the platform's own machine, beside its limits.

`python -m tests.bench.own payloads [--quick]`. An array of 100 MiB goes to a function and comes
back: each time another one, so that nothing is there already, and on disk before the call is
accepted. Measures that say "not durable" are of a lower class: with `durable=False` the array lies
in shared memory, which the platform's death leaves and the machine's does not. In turns with them,
the limits that they cannot pass: copying the array, digesting it, and writing it with fdatasync, to
the file of the turn before and, as objects are, to a new one: where a hypervisor lends memory page
by page, one that was never touched costs more than the disk. The rate counts the array once, though
it goes both ways. "As from another host" is one way, an object put and got again over TCP in chunks
by a client that reaches no file.
"""

from __future__ import annotations

import hashlib
import operator
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
from gridloom.channel import Connection
from gridloom.endpoint import Endpoint
from gridloom.locate import FixedAddress
from gridloom.objects import ObjectsClient

from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MIB = 100
REPETITIONS = 7
QUICK_REPETITIONS = 3
# Memory that was touched before is the faster one: so often it goes round until there is enough.
WARMED = 4

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
    copied = found["limit: copied"]
    for name, rates in found.items():
        yield name, statistics.median(rates), "MiB/s"
        yield f"  {name}, slowest", min(rates), "MiB/s"
        yield f"  {name}, fastest", max(rates), "MiB/s"
        if NOT_DURABLE in name:
            ratio = statistics.median(map(operator.truediv, rates, copied))
            yield f"  {name}, of copying", ratio, "x"


NOT_DURABLE = "not durable"


def _in_turns(client: gridloom.Client, file: Path, repetitions: int) -> Figures:
    not_durable = gridloom.function(durable=False)
    functions = {
        f"{MIB} MiB there and back, on disk": gridloom.function(echo),
        f"{MIB} MiB there and back changed, on disk": gridloom.function(changed),
        f"{MIB} MiB there and back, {NOT_DURABLE}": not_durable(echo),
        f"{MIB} MiB there and back changed, {NOT_DURABLE}": not_durable(changed),
    }
    here = client.connection.endpoint()
    by_tcp = Connection(FixedAddress(Endpoint(here.address, token=here.token)))
    elsewhere = Elsewhere(by_tcp)
    found: Figures = defaultdict(list)
    for repetition in range(repetitions + 1):
        array = np.frombuffer(bytearray(os.urandom(MIB << 20)), np.uint8)
        target = np.ones_like(array)
        turn: dict[str, float] = {}
        for name, limit in _limits(array, target, file).items():
            turn[name] = _rate(limit)
        for name, function in functions.items():
            array += 1  # never seen before
            for _ in range(WARMED if repetition == 0 and NOT_DURABLE in name else 1):
                turn[name] = _rate(partial(_sent_and_back, function, array))
        array += 1
        turn.update(_one_way(elsewhere, array))
        if repetition:  # the first turn starts workers and touches memory
            for name, rate in turn.items():
                found[name].append(rate)
    return found


def _sent_and_back(function: gridloom.Function, array: np.ndarray) -> None:
    function.submit(array).result(300)


class Elsewhere(ObjectsClient):
    """A client that reaches none of the platform's files, as one on another host."""

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Which of these the service does not have; where its files are is forgotten."""
        found = super().missing(digests)
        self._local, self._is_elsewhere = None, True
        return found


def _one_way(client: Elsewhere, array: np.ndarray) -> dict[str, float]:
    """An object put, digested on both sides and on disk, and the same one got."""
    digests: list[str] = []
    put = _rate(lambda: digests.append(client.put_bytes(memoryview(array))))
    got = _rate(lambda: client.get_bytes(digests[0]))
    return {
        f"{MIB} MiB put as from another host, on disk": put,
        f"{MIB} MiB got as from another host": got,
    }


def _limits(array: np.ndarray, target: np.ndarray, file: Path) -> dict[str, Callable[[], object]]:
    return {
        "limit: copied": lambda: np.copyto(target, array),
        "limit: digested": lambda: hashlib.sha256(array).digest(),
        "limit: written and synced": lambda: _write(array, file),
        "limit: written to a new file and synced": lambda: _write(
            array, file.with_name(f"file-{time.monotonic_ns()}")
        ),
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
