"""The elements of an array job: what users write for them, and the runs that travel.

`range(100)`, `[1, 5, 9]`, `100` (0 to 99) or Slurm's "0-99", "1,4,7-9", "0-98:2", "0-99%10".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from gridloom import units
from gridloom.errors import InvalidRequestError
from gridloom.values import dataclass

Elements: TypeAlias = int | str | Iterable[int]

_ALLOWED = 'a range, a list of numbers, a count, or text such as "0-99", "1,4,7-9" or "0-99%10"'
_TEXT = re.compile(r"([^%]+)(?:%([0-9]+))?")
_PART = re.compile(r"(\d{1,9})(?:-(\d{1,9})(?::([1-9]\d{0,8}))?)?")
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ElementRange:
    """Numbers `first`, `first + step`, ... up to and with `last`."""

    first: int
    last: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class Array:
    """The elements, and how many of them may run at once (0: no limit)."""

    ranges: tuple[ElementRange, ...]
    max_parallel: int = 0


def parse_array(given: Elements, max_parallel: int | None = None) -> Array:
    """What `array=` and `max_parallel=` mean together."""
    limit = units.whole(max_parallel, field="max_parallel") if max_parallel is not None else None
    if isinstance(given, str):
        return _parse_text(given, limit)
    if isinstance(given, int):
        given = range(units.whole(given, field="array", least=1))
    if isinstance(given, range):
        return Array(_range_of(given), limit or 0)
    return Array(_runs(given), limit or 0)


def _parse_text(given: str, limit: int | None) -> Array:
    found = _TEXT.fullmatch(given.replace(" ", ""))
    if found is None:
        raise _refusal(given)
    ranges = tuple(_parse_part(part, given) for part in found[1].split(","))
    written = int(found[2]) if found[2] else None
    if written is not None and limit is not None and written != limit:
        raise InvalidRequestError(
            f'array "{given}" and max_parallel={limit} disagree', field="max_parallel"
        )
    return Array(ranges, written or limit or 0)


def _parse_part(part: str, given: str) -> ElementRange:
    found = _PART.fullmatch(part)
    if found is None:
        raise _refusal(given)
    first = int(found[1])
    last = int(found[2]) if found[2] else first
    if last < first:
        raise _refusal(given)
    return ElementRange(first, last, int(found[3] or 1))


def _range_of(given: range) -> tuple[ElementRange, ...]:
    if given.step < 0:
        given = given[::-1]
    if not given or given[0] < 0 or given[-1] > _LARGEST:
        raise _refusal(given)
    return (ElementRange(given[0], given[-1], given.step),)


def _runs(given: Iterable[int]) -> tuple[ElementRange, ...]:
    """The numbers in ascending order, consecutive ones as one range."""
    numbers = sorted({units.whole(number, field="array") for number in given})
    if not numbers:
        raise _refusal(list(numbers))
    ranges = [ElementRange(numbers[0], numbers[0])]
    for number in numbers[1:]:
        if number == ranges[-1].last + 1:
            ranges[-1] = ElementRange(ranges[-1].first, number)
        else:
            ranges.append(ElementRange(number, number))
    return tuple(ranges)


def _refusal(given: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"array cannot be {given!r}; give {_ALLOWED}",
        field="array",
        given=repr(given),
        allowed=_ALLOWED,
    )
