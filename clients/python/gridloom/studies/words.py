"""A study in words: its table, what the laws make of it, and what is to be said against it."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from gridloom.studies.fits import AMDAHL
from gridloom.studies.study import STRONG
from gridloom.studies.texts import of_width, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gridloom.studies.fits import LawFit
    from gridloom.studies.study import Point, ScalingStudy

MARK = "*"
_FEW = 10
_LONGEST_TITLE = 100
_LAWS = {AMDAHL: "Amdahl", "gustafson": "Gustafson"}


def seconds_text(seconds: float) -> str:
    """Three digits that mean something."""
    if seconds >= _FEW**2:
        return f"{seconds:.0f} s"
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1000:.3g} ms"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def columns(study: ScalingStudy) -> tuple[tuple[str, Callable[[Point], str]], ...]:
    """Title and text of each column."""
    return (
        (study.unit, lambda point: f"{point.width}{MARK if point.is_oversubscribed else ''}"),
        ("runs", lambda point: str(point.runs)),
        ("time", lambda point: seconds_text(point.seconds)),
        ("from", lambda point: seconds_text(point.least_s)),
        ("to", lambda point: seconds_text(point.most_s)),
        ("speedup", lambda point: f"{point.speedup:.2f}"),
        ("efficiency", lambda point: _percent(point.efficiency)),
        ("Karp-Flatt", lambda point: _percent(point.serial)),
        ("queued", lambda point: seconds_text(point.queued_s)),
        ("start", lambda point: seconds_text(point.starting_s)),
        ("cores", lambda point: str(point.cores)),
    )


def findings(study: ScalingStudy) -> Iterator[tuple[str, str]]:
    """What else there is to say, each with its name."""
    first = study.reference.width
    if first > 1:
        yield (
            "reference",
            f"{of_width(first, study.unit)}: speedups are over it, as if it were perfect",
        )
    yield from ((_LAWS[fit.law], fit_text(fit)) for fit in _fits(study))
    yield "efficiency", efficiency_text(study)
    if study.oversubscribed:
        widths = ", ".join(map(str, study.oversubscribed))
        said = f"{widths} {study.unit} shared fewer cores than they needed: such times do not show"
        yield f"{MARK} oversubscribed", f"{said} how the work scales, and the laws leave them out"


def _fits(study: ScalingStudy) -> list[LawFit]:
    """That of the study's mode first."""
    both = (study.amdahl, study.gustafson)
    return [fit for fit in (both if study.mode == STRONG else both[::-1]) if fit is not None]


def fit_text(fit: LawFit) -> str:
    """The serial fraction with its interval, and what follows."""
    text = f"serial fraction {_percent(fit.serial)}"
    if fit.low is not None and fit.high is not None:
        text += f" ({100 * fit.confidence:g} %: {_percent(fit.low)} to {_percent(fit.high)})"
    else:
        text += " (too few runs for an interval)"
    if math.isfinite(fit.limit):
        text += f", speedup at most {fit.limit:.3g}"
    return f"{text}; R2 {fit.r_squared:.3f}"


def efficiency_text(study: ScalingStudy) -> str:
    """Up to which width it is as asked."""
    bound = f"{100 * study.bound:g} %"
    if study.efficient_width is None:
        return f"the reference itself had too few cores: nothing is known of {bound}"
    last = max(point.width for point in study.points if not point.is_oversubscribed)
    measured = f"{bound} or more up to {of_width(study.efficient_width, study.unit)}"
    if study.efficient_width == last:
        measured += ", the widest measured"
    law = study.law
    if law is None:
        return measured
    if study.predicted_width is None:
        return f"{measured}; {_LAWS[law.law]}: at any width"
    return f"{measured}; {_LAWS[law.law]}: up to {study.predicted_width:.3g}"


def heading(study: ScalingStudy) -> str:
    """What it is a study of."""
    return f"{study.name}: {study.mode} scaling of {shortened(study.title, _LONGEST_TITLE)}"


def study_text(study: ScalingStudy) -> str:
    """The whole for a terminal."""
    table = columns(study)
    rows = [[title for title, _ in table]]
    rows += [[text(point) for _, text in table] for point in study.points]
    widths = [max(len(row[index]) for row in rows) for index in range(len(table))]
    lines = [
        "  ".join(cell.rjust(wide) for cell, wide in zip(row, widths, strict=True)) for row in rows
    ]
    said = [f"{name}: {text}" for name, text in findings(study)]
    return "\n".join([heading(study), "", *lines, "", *said])


def study_html(study: ScalingStudy) -> str:
    """The whole for a notebook; without the plot where nothing can draw it."""
    from gridloom.studies.plot import is_possible

    table = columns(study)
    head = "".join(f"<th>{escape(title)}</th>" for title, _ in table)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(text(point))}</td>" for _, text in table) + "</tr>"
        for point in study.points
    )
    said = "".join(
        f"<div><b>{escape(name)}</b> {escape(text)}</div>" for name, text in findings(study)
    )
    plot = _inline(study.svg()) if is_possible() else ""
    return (
        f"<div><b>{escape(heading(study))}</b></div>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{said}{plot}"
    )


def _inline(svg: str) -> str:
    """As an image: what is in it cannot reach into the page, nor meet the names of another."""
    import base64

    data = base64.b64encode(svg.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" style="max-width: 100%">'
