"""Calls that are to end are interrupted, then killed; also where they begin after the word came."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from gridloom.api.functions.v1.worker_pb2 import UnitCancel
from gridloom.worker.attention import KNOCK
from gridloom.worker.progress import BATCH, INTERRUPT, NEVER, PLACE, Board, encode_place
from gridloom.worker.watch import TICK_NS, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

_S = 1_000_000_000
_WORKER = """
import signal, sys, time
signal.signal(int(sys.argv[1]), lambda *_: None)
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def child() -> Iterator[Any]:
    """A process with a board, which does not mind being knocked at."""
    command = [sys.executable, "-c", _WORKER, str(int(KNOCK))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield SimpleNamespace(
            pid=process.pid,
            process=process,
            seat=SimpleNamespace(board=Board(), captures=None),
            warned=set(),
            last_place=None,
            knocked=False,
        )
        process.kill()


def begin(child: Any, batch: int, unit: int) -> None:
    slot = child.seat.board.slots[0]
    slot[BATCH], slot[PLACE] = batch, encode_place(unit)


def interrupted(child: Any) -> bool:
    return child.seat.board.slots[0][INTERRUPT] != 0


def test_a_call_that_begins_after_its_cancel_is_interrupted_and_killed_after_the_grace(child: Any):
    watch = Watch(0)
    watch.cancel(UnitCancel(batch=7, unit=2, running=True, grace_ms=1000), 0)
    assert watch.look([child], 0) == TICK_NS
    begin(child, 7, 2)
    assert watch.look([child], TICK_NS) <= 1 * _S
    assert interrupted(child)
    assert child.process.poll() is None
    watch.look([child], 1 * _S)
    assert child.process.wait() == -signal.SIGKILL


def test_other_calls_are_left_alone_and_an_order_that_finds_nobody_goes(child: Any):
    watch = Watch(0)
    watch.cancel(UnitCancel(batch=7, unit=2, running=True, grace_ms=1000), 0)
    begin(child, 7, 3)
    watch.look([child], 0)
    begin(child, 8, 2)
    watch.look([child], 2 * _S)
    assert not interrupted(child)
    assert watch.look([], 10 * _S) == NEVER


def test_a_batch_of_the_same_number_from_the_next_service_is_another_one(child: Any):
    watch = Watch(0)
    watch.cancel(UnitCancel(batch=7, unit=2, running=True, grace_ms=1000), 0)
    watch.look([child], 0)
    watch.numbers_begin_anew()
    watch.look([child], 1)
    begin(child, 7, 2)
    watch.look([child], TICK_NS)
    assert not interrupted(child)
