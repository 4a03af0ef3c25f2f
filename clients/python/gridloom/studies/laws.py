"""The laws of scaling, as pure functions of a width `q` and a fraction.

`q` is how many times wider than the reference a run is: the number of ranks or workers where the
reference has one. Speedup is by how much more work is done in the same time.
"""

from __future__ import annotations

import math


def amdahl_speedup(q: float, serial: float) -> float:
    """Speedup of a problem of fixed size, `serial` of whose time on one cannot be shared.

    G. M. Amdahl, "Validity of the single processor approach to achieving large scale computing
    capabilities", AFIPS Spring Joint Computer Conference 30 (1967), 483-485.
    """
    return 1 / (serial + (1 - serial) / q)


def gustafson_speedup(q: float, serial: float) -> float:
    """Speedup of a problem that grows with the width: `serial` is of the time on all of them.

    J. L. Gustafson, "Reevaluating Amdahl's law", Communications of the ACM 31:5 (1988), 532-533.
    """
    return q - serial * (q - 1)


def karp_flatt(speedup: float, q: float) -> float | None:
    """The serial fraction that a measured speedup comes to; None where there is nothing to share.

    That it grows with the width tells overhead (start, communication, uneven work) from work that
    is serial by nature, for which it is constant. Below 0 the speedup is more than linear.

    A. H. Karp and H. P. Flatt, "Measuring parallel processor performance", Communications of the
    ACM 33:5 (1990), 539-543.
    """
    if q <= 1:
        return None
    return (1 / speedup - 1 / q) / (1 - 1 / q)


def amdahl_reach(serial: float, bound: float) -> float:
    """The largest width at which Amdahl's law has an efficiency of `bound` or more."""
    if serial <= 0:
        return math.inf
    return 1 + (1 / bound - 1) / serial


def gustafson_reach(serial: float, bound: float) -> float:
    """The same of Gustafson's law, whose efficiency falls towards `1 - serial` only."""
    if bound <= 1 - serial:
        return math.inf
    return serial / (bound - 1 + serial)
