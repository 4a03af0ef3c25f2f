"""The laws of scaling and their fits, against what is known of them and against scipy."""

from __future__ import annotations

import math

import pytest
from gridloom.studies import laws
from gridloom.studies.fits import Sample, fit_amdahl, fit_gustafson
from gridloom.studies.squares import line_through, slope_through_origin, student_quantile
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

FRACTIONS = st.floats(0.001, 0.999)
WIDTHS = st.floats(1.01, 4096)


def test_the_laws_say_what_their_papers_say():
    assert laws.amdahl_speedup(1024, 0.05) == pytest.approx(19.6, abs=0.05)
    assert laws.gustafson_speedup(1024, 0.01) == pytest.approx(1013.8, abs=0.05)
    # Karp and Flatt's table for the Linpack on a Cray Y-MP/8: speedup 7.79 on 8, 0.0039.
    assert laws.karp_flatt(7.79, 8) == pytest.approx(0.0039, abs=1e-4)


@given(WIDTHS, FRACTIONS)
def test_karp_and_flatt_find_the_fraction_that_amdahl_put_in(q, serial):
    assert laws.karp_flatt(laws.amdahl_speedup(q, serial), q) == pytest.approx(serial, rel=1e-6)


@given(FRACTIONS, FRACTIONS)
def test_at_its_reach_a_law_has_just_the_efficiency_asked_for(serial, bound):
    reach = laws.amdahl_reach(serial, bound)
    assert laws.amdahl_speedup(reach, serial) / reach == pytest.approx(bound)
    reach = laws.gustafson_reach(serial, bound)
    if math.isfinite(reach):
        assert laws.gustafson_speedup(reach, serial) / reach == pytest.approx(bound, rel=1e-6)
    else:
        assert bound <= 1 - serial


def test_the_reference_has_nothing_to_share():
    assert laws.karp_flatt(1.0, 1) is None


@pytest.mark.parametrize("spare", [1, 2, 3, 4, 7, 18, 101])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_students_quantiles_are_those_of_scipy(spare, confidence):
    expected = stats.t.ppf((1 + confidence) / 2, spare)
    assert student_quantile(confidence, spare) == pytest.approx(expected, rel=1e-9)


def test_a_line_is_that_of_scipy():
    xs, ys = [1, 0.5, 0.5, 0.25, 0.125], [1.02, 0.55, 0.57, 0.31, 0.2]
    ours, theirs = line_through(xs, ys), stats.linregress(xs, ys)
    assert (ours.slope, ours.intercept) == pytest.approx((theirs.slope, theirs.intercept))
    of_intercept, _, of_slope = ours.covariance
    assert math.sqrt(of_slope) == pytest.approx(theirs.stderr)
    assert math.sqrt(of_intercept) == pytest.approx(theirs.intercept_stderr)
    assert ours.r_squared == pytest.approx(theirs.rvalue**2)


def noisy(law, serial: float) -> list[Sample]:
    """Three runs of each width, a little off to either side."""
    return [
        Sample(q, law(q, serial) * (1 + off)) for q in (1, 2, 4, 8) for off in (-0.02, 0.005, 0.015)
    ]


def test_amdahls_fit_and_its_interval_are_those_of_a_general_solver():
    samples = noisy(laws.amdahl_speedup, 0.08)
    fit = fit_amdahl(samples, 0.95)
    xs, ys = [each.q for each in samples], [1 / each.speedup for each in samples]

    def model(q, whole, serial):
        return whole * (serial + (1 - serial) / q)

    found, covariance = optimize.curve_fit(model, xs, ys, p0=(1, 0.1))
    aside = stats.t.ppf(0.975, len(samples) - 2) * math.sqrt(covariance[1][1])
    assert fit.serial == pytest.approx(found[1], rel=1e-5)
    assert (fit.low, fit.high) == pytest.approx((found[1] - aside, found[1] + aside), rel=1e-3)
    assert fit.low < 0.08 < fit.high
    assert fit.limit == pytest.approx(1 / fit.serial)


def test_gustafsons_fit_and_its_interval_are_those_of_a_general_solver():
    samples = noisy(laws.gustafson_speedup, 0.1)
    fit = fit_gustafson(samples, 0.9)
    wider = [each for each in samples if each.q > 1]
    xs, ys = [each.q for each in wider], [each.speedup for each in wider]
    found, covariance = optimize.curve_fit(laws.gustafson_speedup, xs, ys, p0=(0.1,))
    aside = stats.t.ppf(0.95, len(wider) - 1) * math.sqrt(covariance[0][0])
    assert fit.serial == pytest.approx(found[0], rel=1e-5)
    assert (fit.low, fit.high) == pytest.approx((found[0] - aside, found[0] + aside), rel=1e-3)
    assert math.isinf(fit.limit)


@given(FRACTIONS)
def test_without_noise_each_law_finds_itself(serial):
    for law, fitted in (
        (laws.amdahl_speedup, fit_amdahl),
        (laws.gustafson_speedup, fit_gustafson),
    ):
        fit = fitted([Sample(q, law(q, serial)) for q in (1, 2, 4, 8)], 0.95)
        assert fit.serial == pytest.approx(serial, abs=1e-6)
        assert fit.low == pytest.approx(serial, abs=1e-5)
        assert fit.r_squared == pytest.approx(1)


def test_one_width_alone_has_no_law():
    assert fit_amdahl([Sample(1, 1), Sample(1, 0.98)], 0.95) is None
    assert fit_gustafson([Sample(1, 1), Sample(1, 0.98)], 0.95) is None
    assert slope_through_origin([0, 0], [1, 2]) is None


def test_without_a_run_to_spare_nothing_is_said_of_the_interval():
    fit = fit_amdahl([Sample(1, 1), Sample(2, 1.8)], 0.95)
    assert fit.serial == pytest.approx(1 / 9)
    assert (fit.low, fit.high) == (None, None)


def test_more_than_linear_speedup_is_not_hidden():
    fit = fit_amdahl([Sample(1, 1), Sample(2, 2.1), Sample(4, 4.4)], 0.95)
    assert fit.serial < 0
    assert math.isinf(fit.limit)
    assert math.isinf(fit.reach(0.7))
