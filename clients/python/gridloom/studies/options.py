"""The words of `client.scaling_study`, and what is refused of them."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gridloom import units
from gridloom.errors import InvalidRequestError
from gridloom.mpi_jobs.options import MpiOptions
from gridloom.options import check_choice
from gridloom.studies.study import MODES
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEFAULT_WIDTHS = (1, 2, 4, 8)
DEFAULT_REPEATS = 5
DEFAULT_BOUND = 0.7
DEFAULT_CONFIDENCE = 0.95
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MOST_REPEATS = 10_000


class StudyWords(MpiOptions, total=False):
    """What a study takes besides its widths, and the words of each of its runs.

    `name`: a study begun again under the same name makes only the runs that are missing; without
    one it gets one of its own. `bound` is the efficiency that widths are asked for. `folder` holds
    what is kept of studies, by name; without it the platform's home does.
    """

    bound: float
    confidence: float
    folder: str | Path
    progress: bool | None
    # Of the pools of functions.
    concurrency: str


OWN_WORDS = frozenset({"name", "bound", "confidence", "folder", "progress"})


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """A checked study: which widths, how, how often."""

    name: str
    widths: tuple[int, ...]
    mode: str
    repeats: int
    bound: float
    confidence: float

    def turns(self) -> list[tuple[int, int]]:
        """Widths and repeats in the order of the runs.

        Widths take turns, up and down: a machine that becomes slower or faster meanwhile, does so
        for all of them alike.
        """
        return [
            (width, repeat)
            for repeat in range(1, self.repeats + 1)
            for width in (self.widths if repeat % 2 else reversed(self.widths))
        ]


def study_plan(
    widths: Sequence[int], mode: str, repeats: int, words: Mapping[str, Any], title: str
) -> StudyPlan:
    """The plan of these words. InvalidRequestError names the one that is wrong."""
    check_choice("mode", mode, MODES)
    return StudyPlan(
        name=_name(words.get("name") or _own_name(title)),
        widths=_widths(widths),
        mode=mode,
        repeats=units.whole(repeats, field="repeats", least=1, most=_MOST_REPEATS),
        bound=_share("bound", words.get("bound", DEFAULT_BOUND)),
        confidence=_share("confidence", words.get("confidence", DEFAULT_CONFIDENCE)),
    )


def _widths(given: Sequence[int]) -> tuple[int, ...]:
    allowed = "whole numbers from 1 on, each larger than the one before: [1, 2, 4, 8]"
    try:
        widths = tuple(given)
    except TypeError:
        widths = ()
    if not widths or isinstance(given, str):
        raise _refused("widths", given, allowed)
    for width in widths:
        units.whole(width, field="widths", least=1)
    if any(later <= earlier for earlier, later in pairwise(widths)):
        raise _refused("widths", given, allowed)
    return widths


def _share(field: str, given: object) -> float:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number or not 0 < float(given) < 1:  # type: ignore[arg-type]
        raise _refused(field, given, "a number between 0 and 1, such as 0.7")
    return float(given)  # type: ignore[arg-type]


def _name(given: object) -> str:
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise _refused("name", given, "letters, digits, dots, dashes and underscores, at most 63")
    return given


def _own_name(title: str) -> str:
    """What it is of, when it began, and what nothing else is called."""
    word = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:30].strip("-") or "study"
    return f"{word}-{datetime.now().astimezone():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"


def _refused(field: str, given: object, allowed: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{field} cannot be {given!r:.100}; give {allowed}",
        field=field,
        given=f"{given!r:.100}",
        allowed=allowed,
    )
