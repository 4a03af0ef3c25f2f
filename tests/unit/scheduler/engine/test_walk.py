"""The walk over what waits."""

from __future__ import annotations

import numpy as np
from gridloom_services.scheduler.engine.walk import Walk


def drained(walk):
    return list(iter(walk.next, None))


def test_every_row_has_its_turn_in_order():
    assert drained(Walk(np.arange(1000))) == list(range(1000))
    assert drained(Walk(np.arange(0))) == []


def test_filtering_spares_what_had_its_turn_and_keeps_the_order():
    walk = Walk(np.arange(1000))
    first = [walk.next() for _ in range(300)]
    walk.filter(lambda rows: rows[rows % 7 == 0])
    assert first == list(range(300))
    assert walk.rows.tolist() == list(range(301, 1000, 7))
    assert drained(walk) == list(range(301, 1000, 7))
