"""Least squares of one line, with Student's confidence intervals: closed forms, no dependency."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_HALVINGS = 200


class Line(NamedTuple):
    """`y = intercept + slope * x`, how far off both may be, and how much of `y` it explains.

    `covariance` is (of the intercept, of both, of the slope); None without a spare point.
    """

    intercept: float
    slope: float
    covariance: tuple[float, float, float] | None
    spare: int
    r_squared: float


def line_through(xs: Sequence[float], ys: Sequence[float]) -> Line | None:
    """The best line through points; None where they do not have two different `x`."""
    if not xs:
        return None
    mean_x, mean_y = fmean(xs), fmean(ys)
    spread = math.fsum((x - mean_x) ** 2 for x in xs)
    if spread <= 0:
        return None
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    intercept = mean_y - slope * mean_x
    left = math.fsum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    spare = len(xs) - 2
    covariance = None
    if spare:
        of_slope = left / spare / spread
        of_intercept = left / spare / len(xs) + of_slope * mean_x**2
        covariance = (of_intercept, -mean_x * of_slope, of_slope)
    return Line(intercept, slope, covariance, spare, _explained(left, ys))


def slope_through_origin(xs: Sequence[float], ys: Sequence[float]) -> Line | None:
    """The best line that goes through the origin; points at `x = 0` say nothing of it."""
    told = [(x, y) for x, y in zip(xs, ys, strict=True) if x]
    if not told:
        return None
    square = math.fsum(x * x for x, _ in told)
    slope = math.fsum(x * y for x, y in told) / square
    left = math.fsum((y - slope * x) ** 2 for x, y in told)
    spare = len(told) - 1
    covariance = (0.0, 0.0, left / spare / square) if spare else None
    return Line(0.0, slope, covariance, spare, 0.0)


def r_squared(ys: Sequence[float], predicted: Sequence[float]) -> float:
    """How much of the spread of `ys` is explained: 1 is all of it."""
    left = math.fsum((y - p) ** 2 for y, p in zip(ys, predicted, strict=True))
    return _explained(left, ys)


def _explained(left: float, ys: Sequence[float]) -> float:
    mean = fmean(ys)
    whole = math.fsum((y - mean) ** 2 for y in ys)
    return 1 - left / whole if whole > 0 else 1.0


def student_quantile(confidence: float, spare: int) -> float:
    """How many standard errors to each side hold the true value in `confidence` of all cases.

    The distribution for whole degrees of freedom is M. Abramowitz and I. A. Stegun, "Handbook of
    Mathematical Functions" (1964), 26.7.3 and 26.7.4; it is inverted by bisection over its angle.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, spare) < confidence else (low, middle)
    return math.sqrt(spare) * math.tan(low)


def _inside(angle: float, spare: int) -> float:
    """The share of Student's distribution within `sqrt(spare) * tan(angle)` of its middle."""
    cosine, sine = math.cos(angle), math.sin(angle)
    is_odd = spare % 2
    term, total = (cosine, 0.0) if is_odd else (1.0, 0.0)
    for number in range(1 + is_odd, spare, 2):
        total += term
        term *= cosine**2 * number / (number + 1)
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
