"""The plot of a study: speedup and efficiency over the width. Needs matplotlib, when it is drawn.

The colours are Okabe and Ito's, which people who see few colours tell apart, too; nothing is said
by a colour alone.
"""

from __future__ import annotations

import io
import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from gridloom.errors import NotInstalledError
from gridloom.studies.study import STRONG
from gridloom.studies.texts import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridloom.studies.fits import LawFit
    from gridloom.studies.study import Point, ScalingStudy

MISSING = "a plot needs matplotlib: pip install 'gridloom[plot]'"
_BLUE, _ORANGE, _GREY, _RED = "#0072B2", "#E69F00", "#666666", "#D55E00"
_DPI = 150
_SIZE = (10.0, 4.4)
_STEPS = 200
_ROOM = 1.12
_MOST_SHOWN = 1.5
_FEW_WIDTHS = 12
_LONGEST_TITLE = 70


def is_possible() -> bool:
    """Whether matplotlib is here."""
    return find_spec("matplotlib") is not None


def drawn(study: ScalingStudy, kind: str) -> bytes:
    """The picture as a "png" or "svg". NotInstalledError: matplotlib is not here."""
    if not is_possible():
        raise NotInstalledError(MISSING)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Text stays text, and the same study makes the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gridloom", "font.size": 10}):
        figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
        speedup, efficiency = figure.subplots(1, 2)
        figure.suptitle(_title(study), fontsize=11)
        _draw_speedup(speedup, study)
        _draw_efficiency(efficiency, study)
        data = io.BytesIO()
        figure.savefig(data, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return data.getvalue()


def _title(study: ScalingStudy) -> str:
    title = shortened(study.title, _LONGEST_TITLE)
    # A dollar would begin a formula.
    return f"{study.mode.capitalize()} scaling of {title}".replace("$", r"\$")


def _draw_speedup(axes: Any, study: ScalingStudy) -> None:
    first = study.reference.width
    last = study.points[-1].width
    axes.plot([first, last], [1, last / first], "--", color=_GREY, lw=1, label="ideal")
    _draw_law(axes, study)
    _draw_points(
        axes,
        study.points,
        [(each.speedup, each.speedup_low, each.speedup_high) for each in study.points],
    )
    _scale_widths(axes, study)
    axes.set_yscale("log", base=2)
    # By what was measured: the interval of a law may be anything.
    lowest = min(each.speedup_low for each in study.points)
    highest = max(last / first, *(each.speedup_high for each in study.points))
    axes.set_ylim(min(1.0, lowest) / _ROOM, highest * _ROOM)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("speedup" if study.mode == STRONG else "scaled speedup")
    axes.legend(loc="upper left", frameon=False, fontsize=9)


def _draw_efficiency(axes: Any, study: ScalingStudy) -> None:
    first = study.reference.width
    axes.axhline(1, color=_GREY, lw=1, ls="--")
    bound = axes.axhline(study.bound, color=_RED, lw=1.2, ls=":")
    _draw_law(axes, study, is_efficiency=True)
    by = [each.width / first for each in study.points]
    spread = [
        (each.efficiency, each.speedup_low / q, each.speedup_high / q)
        for each, q in zip(study.points, by, strict=True)
    ]
    _draw_points(axes, study.points, spread)
    _scale_widths(axes, study)
    highest = max(high for _, _, high in spread)
    axes.set_ylim(0, max(1.1, _ROOM * min(highest, _MOST_SHOWN)))
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_ylabel("efficiency")
    # The rest is as beside.
    axes.legend([bound], [f"bound {study.bound:.0%}"], loc="lower left", frameon=False, fontsize=9)


def _draw_points(
    axes: Any, points: Sequence[Point], values: Sequence[tuple[float, float, float]]
) -> None:
    """The median of each width and the range of its runs; hollow where cores were too few."""
    for is_over, face, label in (
        (False, _BLUE, "median, fastest to slowest"),
        (True, "white", "fewer cores than needed"),
    ):
        chosen = [
            (point.width, middle, max(0.0, middle - low), max(0.0, high - middle))
            for point, (middle, low, high) in zip(points, values, strict=True)
            if point.is_oversubscribed == is_over
        ]
        if not chosen:
            continue
        widths, middles, below, above = zip(*chosen, strict=True)
        axes.errorbar(
            widths,
            middles,
            yerr=[below, above],
            fmt="s" if is_over else "o",
            color=_RED if is_over else _BLUE,
            markerfacecolor=face,
            markersize=6,
            capsize=3,
            lw=1.2,
            label=label,
            zorder=3,
        )


def _draw_law(axes: Any, study: ScalingStudy, *, is_efficiency: bool = False) -> None:
    """The law of the study's mode, as a line, and where its interval has it."""
    law = study.law
    if law is None:
        return
    first, last = study.reference.width, study.points[-1].width
    qs = [(last / first) ** (step / _STEPS) for step in range(_STEPS + 1)]
    widths = [q * first for q in qs]
    name = f"{law.law.capitalize()}, serial {100 * law.serial:.1f} %"
    per = qs if is_efficiency else [1.0] * len(qs)
    line = [law.speedup(q) / by for q, by in zip(qs, per, strict=True)]
    axes.plot(widths, line, color=_ORANGE, lw=1.8, label=name)
    band = _band(law, qs)
    if band is not None:
        low, high = ([value / by for value, by in zip(side, per, strict=True)] for side in band)
        label = f"{100 * law.confidence:g} % interval"
        axes.fill_between(widths, low, high, color=_ORANGE, alpha=0.2, lw=0, label=label)


def _band(law: LawFit, qs: Sequence[float]) -> tuple[list[float], list[float]] | None:
    """Lower and upper speedups; None where there are none that a picture could show."""
    if law.low is None or law.high is None:
        return None
    sides = tuple([law.speedup(q, serial) for q in qs] for serial in (law.high, law.low))
    is_sound = all(math.isfinite(value) and value > 0 for side in sides for value in side)
    return (sides[0], sides[1]) if is_sound else None


def _scale_widths(axes: Any, study: ScalingStudy) -> None:
    widths = [each.width for each in study.points]
    axes.set_xscale("log", base=2)
    axes.set_xlim(widths[0] / _ROOM, widths[-1] * _ROOM)
    axes.xaxis.set_major_locator(_ticks(widths))
    axes.xaxis.set_minor_locator(_ticks([]))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(study.unit)
    axes.grid(visible=True, color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _ticks(widths: Sequence[int]) -> Any:
    """At the widths themselves, where they are few enough to be read."""
    from matplotlib.ticker import FixedLocator, LogLocator

    return FixedLocator(widths) if len(widths) <= _FEW_WIDTHS else LogLocator(base=2)
