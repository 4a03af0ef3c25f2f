"""Amdahl's and Gustafson's laws fitted to measured speedups, by least squares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from gridloom.studies import laws
from gridloom.studies.squares import (
    line_through,
    r_squared,
    slope_through_origin,
    student_quantile,
)
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AMDAHL = "amdahl"
GUSTAFSON = "gustafson"
_SPEEDUP: dict[str, Callable[[float, float], float]] = {
    AMDAHL: laws.amdahl_speedup,
    GUSTAFSON: laws.gustafson_speedup,
}
_REACH: dict[str, Callable[[float, float], float]] = {
    AMDAHL: laws.amdahl_reach,
    GUSTAFSON: laws.gustafson_reach,
}


class Sample(NamedTuple):
    """One run: how many times wider than the reference it was, and its speedup."""

    q: float
    speedup: float


@dataclass(frozen=True, slots=True)
class LawFit:
    """A law with the serial fraction that fits the runs best, and the interval that holds it.

    `low` and `high` are None where no run is to spare for an estimate of their scatter. The
    fraction is not forced into 0 to 1: below 0 the speedup is more than linear. `r_squared` is the
    share of the speedups' spread that the law explains.
    """

    law: str
    serial: float
    low: float | None
    high: float | None
    confidence: float
    r_squared: float
    samples: int

    def speedup(self, q: float, serial: float | None = None) -> float:
        """What the law says for this width, with its own serial fraction or another."""
        return _SPEEDUP[self.law](q, self.serial if serial is None else serial)

    def reach(self, bound: float) -> float:
        """The largest width whose efficiency is at least `bound`; infinite where it always is."""
        return _REACH[self.law](self.serial, bound)

    @property
    def limit(self) -> float:
        """The speedup that no width exceeds: 1 / serial of Amdahl's law, else infinite."""
        return 1 / self.serial if self.law == AMDAHL and self.serial > 0 else math.inf


def fit_amdahl(samples: Sequence[Sample], confidence: float) -> LawFit | None:
    """Of `1 / speedup = c * (s + (1 - s) / q)` for both `c` and `s`; None with one width only.

    That is a line over `1 / q`. `c` is 1 but for the error of the reference, which this way does
    not fall upon `s`. The interval of `s`, a ratio of the line's coefficients, is by propagation of
    their errors (to first order) and Student's t.
    """
    line = line_through([1 / each.q for each in samples], [1 / each.speedup for each in samples])
    if line is None or line.intercept + line.slope <= 0:
        return None
    whole = line.intercept + line.slope
    serial = line.intercept / whole
    error = None
    if line.covariance is not None:
        by_intercept, by_slope = line.slope / whole**2, -line.intercept / whole**2
        of_intercept, of_both, of_slope = line.covariance
        error = math.sqrt(
            by_intercept**2 * of_intercept
            + 2 * by_intercept * by_slope * of_both
            + by_slope**2 * of_slope
        )
    return _fitted(AMDAHL, samples, (serial, error), line.spare, confidence)


def fit_gustafson(samples: Sequence[Sample], confidence: float) -> LawFit | None:
    """Of `q - speedup = s * (q - 1)`: a line through the origin; None with the reference only."""
    line = slope_through_origin(
        [each.q - 1 for each in samples], [each.q - each.speedup for each in samples]
    )
    if line is None:
        return None
    error = None if line.covariance is None else math.sqrt(line.covariance[2])
    return _fitted(GUSTAFSON, samples, (line.slope, error), line.spare, confidence)


def _fitted(
    law: str,
    samples: Sequence[Sample],
    found: tuple[float, float | None],
    spare: int,
    confidence: float,
) -> LawFit:
    serial, error = found
    low = high = None
    if error is not None:
        aside = error * student_quantile(confidence, spare)
        low, high = serial - aside, serial + aside
    predicted = [_SPEEDUP[law](each.q, serial) for each in samples]
    explained = r_squared([each.speedup for each in samples], predicted)
    return LawFit(law, serial, low, high, confidence, explained, len(samples))
