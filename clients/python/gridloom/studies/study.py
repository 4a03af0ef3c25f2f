"""What a scaling study has found: frozen values, made of its runs by pure functions."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from gridloom.errors import GridloomWarning
from gridloom.studies import laws
from gridloom.studies.fits import LawFit, Sample, fit_amdahl, fit_gustafson
from gridloom.values import dataclass

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

STRONG = "strong"
WEAK = "weak"
MODES = (STRONG, WEAK)


@dataclass(frozen=True, slots=True)
class Run:
    """One run at one width. Times are in seconds.

    `seconds` is of the work itself: from the moment when the last of its ranks or workers was ready
    to the moment when all were through. `queued_s` is how long it waited for its resources before,
    `starting_s` how long its ranks or workers then took to be ready. `cores` is how many processors
    they could use, and `needed` how many they would all keep busy.
    """

    width: int
    repeat: int
    seconds: float
    queued_s: float
    starting_s: float
    cores: int
    needed: int
    hosts: int = 1
    job_id: str = ""

    @property
    def is_oversubscribed(self) -> bool:
        """It had to share processors with itself: its time says nothing of how work scales."""
        return self.needed > self.cores


@dataclass(frozen=True, slots=True)
class Point:
    """All runs of one width: medians, and how far apart the runs were.

    `serial` is Karp and Flatt's fraction; None at the reference. In weak mode the speedup is the
    scaled one, and `serial` of the time that one alone would take for the larger work.
    """

    width: int
    runs: int
    seconds: float
    least_s: float
    most_s: float
    speedup: float
    speedup_low: float
    speedup_high: float
    efficiency: float
    serial: float | None
    queued_s: float
    starting_s: float
    cores: int
    hosts: int
    is_oversubscribed: bool


@dataclass(frozen=True, slots=True)
class ScalingStudy:
    """The outcome. Speedups are over the smallest width, which counts as perfectly efficient.

    `efficient_width` is the largest width measured up to which no efficiency was under `bound`
    (None where the reference itself had too few cores); `predicted_width` is what the law of the
    study's mode says (None: for ever, or no law could be fitted). Widths with fewer cores than they
    needed are marked, and neither counts them.
    """

    name: str
    title: str
    unit: str
    mode: str
    bound: float
    points: tuple[Point, ...]
    runs: tuple[Run, ...]
    amdahl: LawFit | None
    gustafson: LawFit | None
    efficient_width: int | None
    predicted_width: float | None

    @property
    def reference(self) -> Point:
        """The smallest width."""
        return self.points[0]

    @property
    def law(self) -> LawFit | None:
        """The law of its mode: Amdahl's of fixed work, Gustafson's of work that grows."""
        return self.amdahl if self.mode == STRONG else self.gustafson

    @property
    def oversubscribed(self) -> tuple[int, ...]:
        """The widths that had fewer cores than they needed."""
        return tuple(each.width for each in self.points if each.is_oversubscribed)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON knows it; what is infinite or unknown is None."""
        plain: dict[str, Any] = _finite(asdict(self))
        for key in ("amdahl", "gustafson"):
            fit: LawFit | None = getattr(self, key)
            if fit is not None:
                plain[key] |= {"limit": _finite(fit.limit), "reach": _finite(fit.reach(self.bound))}
        return {**plain, "oversubscribed": list(self.oversubscribed)}

    def __str__(self) -> str:
        from gridloom.studies.words import study_text

        return study_text(self)

    def __repr__(self) -> str:
        widths = ", ".join(str(each.width) for each in self.points)
        return f"<ScalingStudy {self.name}: {self.mode}, {widths} {self.unit}>"

    # ---- pictures

    def png(self) -> bytes:
        """The plot; a `NotInstalledError` says what it needs."""
        from gridloom.studies.plot import drawn

        return drawn(self, "png")

    def svg(self) -> str:
        """The plot as vectors."""
        from gridloom.studies.plot import drawn

        return drawn(self, "svg").decode()

    def save(self, folder: str | os.PathLike[str] = ".") -> list[Path]:
        """Write `NAME.json`, `NAME.png` and `NAME.svg`; where they are.

        Where nothing can draw them, there are no pictures, and a warning says what to install.
        """
        import json

        from gridloom.studies.plot import MISSING, is_possible

        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        files = {"json": json.dumps(self.to_dict(), indent=2).encode()}
        if is_possible():
            files |= {"png": self.png(), "svg": self.svg().encode()}
        else:
            warnings.warn(MISSING, GridloomWarning, stacklevel=2)
        paths = []
        for kind, data in files.items():
            path = place / f"{self.name}.{kind}"
            path.write_bytes(data)
            paths.append(path)
        return paths

    def _repr_png_(self) -> bytes | None:
        from gridloom.studies.plot import is_possible

        return self.png() if is_possible() else None

    def _repr_html_(self) -> str:
        from gridloom.studies.words import study_html

        return study_html(self)


def study_of(
    runs: Sequence[Run],
    *,
    name: str,
    title: str,
    unit: str,
    mode: str,
    bound: float,
    confidence: float,
) -> ScalingStudy:
    """What these runs come to: at least one of the smallest width among them."""
    in_order = tuple(sorted(runs, key=lambda run: (run.width, run.repeat)))
    by_width: dict[int, list[Run]] = {}
    for run in in_order:
        by_width.setdefault(run.width, []).append(run)
    first = min(by_width)
    reference_s = median(run.seconds for run in by_width[first])
    scale = _Scale(first, reference_s, mode)
    points = tuple(_point(by_width[width], scale) for width in by_width)
    samples = [
        Sample(scale.q(run.width), scale.speedup(run.width, run.seconds))
        for run in in_order
        if not run.is_oversubscribed
    ]
    amdahl, gustafson = fit_amdahl(samples, confidence), fit_gustafson(samples, confidence)
    reach = _reach(amdahl if mode == STRONG else gustafson, bound, first)
    efficient = _efficient_width(points, bound)
    head = (name, title, unit, mode, bound)
    return ScalingStudy(*head, points, in_order, amdahl, gustafson, efficient, reach)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Speedup and width in terms of the reference."""

    first: int
    reference_s: float
    mode: str

    def q(self, width: int) -> float:
        return width / self.first

    def speedup(self, width: int, seconds: float) -> float:
        work = 1.0 if self.mode == STRONG else self.q(width)
        return work * self.reference_s / seconds


def _point(runs: Sequence[Run], scale: _Scale) -> Point:
    width = runs[0].width
    times = [run.seconds for run in runs]
    q, speedup = scale.q(width), scale.speedup(width, median(times))
    return Point(
        width=width,
        runs=len(runs),
        seconds=median(times),
        least_s=min(times),
        most_s=max(times),
        speedup=speedup,
        speedup_low=scale.speedup(width, max(times)),
        speedup_high=scale.speedup(width, min(times)),
        efficiency=speedup / q,
        serial=laws.karp_flatt(speedup, q),
        queued_s=median(run.queued_s for run in runs),
        starting_s=median(run.starting_s for run in runs),
        cores=min(run.cores for run in runs),
        hosts=max(run.hosts for run in runs),
        is_oversubscribed=any(run.is_oversubscribed for run in runs),
    )


def _reach(law: LawFit | None, bound: float, first: int) -> float | None:
    """The width of the law's reach; None where that is infinite, or there is no law."""
    reach = law.reach(bound) * first if law else math.inf
    return None if math.isinf(reach) else reach


def _efficient_width(points: Sequence[Point], bound: float) -> int | None:
    found = None
    for point in points:
        if point.is_oversubscribed or point.efficiency < bound:
            break
        found = point.width
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
