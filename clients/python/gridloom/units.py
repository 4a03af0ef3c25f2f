"""What users write for amounts and times, and the whole numbers that travel.

Memory is a number of bytes or "8GiB" (1024s) or "8GB" (1000s); a duration is seconds, "1h30m" or a
`timedelta`; cpus may be fractions and travel in thousandths.
"""

from __future__ import annotations

import math
import operator
import re
from datetime import UTC, datetime, timedelta
from typing import SupportsFloat, TypeAlias

from gridloom.errors import InvalidRequestError

Memory: TypeAlias = int | float | str
Duration: TypeAlias = int | float | str | timedelta
Point: TypeAlias = datetime | str

_BYTES = {
    "": 1,
    "b": 1,
    **{
        f"{letter}{suffix}": 1000**power
        for power, letter in enumerate("kmgtp", 1)
        for suffix in ("", "b")
    },
    **{
        f"{letter}i{suffix}": 1024**power
        for power, letter in enumerate("kmgtp", 1)
        for suffix in ("", "b")
    },
}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")
_DURATION = re.compile(r"\s*(?:\d+(?:\.\d+)?\s*(?:ms|[smhdw])\s*)+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])")
_PLAIN = re.compile(r"\s*\d+(?:\.\d+)?\s*")
_LARGEST = 2**63 - 1

CPU = 1000
"""One CPU, in thousandths."""

_KIBI = 1024
_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_THREE_DIGITS = 100
_MILLI = 0.001
_TENTHS_SHOWN_BELOW_S = 10
_LADDER = ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))


def memory_bytes(given: Memory, *, field: str = "memory") -> int:
    """Bytes of `8589934592` or "8GiB"; more than 0."""
    if isinstance(given, str):
        found = _MEMORY.fullmatch(given)
        unit = _BYTES.get(found[2].lower()) if found else None
        if found is None or unit is None:
            raise _refusal(field, given, 'a number of bytes or an amount such as "8GiB" or "500MB"')
        amount: float = float(found[1]) * unit if "." in found[1] else int(found[1]) * unit
    else:
        amount = _number(given, field)
    if not 1 <= amount <= _LARGEST:
        raise _refusal(field, given, "an amount of at least one byte")
    return math.ceil(amount)


def cpu_thousandths(given: float, *, field: str = "cpus") -> int:
    """Thousandths of a CPU, rounded up; more than 0."""
    amount = _number(given, field)
    if not 0 < amount <= _LARGEST / 1000:
        raise _refusal(field, given, "a number of CPUs greater than 0, such as 4 or 0.5")
    return math.ceil(round(amount * 1000, 6))


def whole(given: int, *, field: str, least: int = 0, most: int = 2**31 - 1) -> int:
    """`given`, if it is a whole number from `least` to `most`."""
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        raise _refusal(field, given, "a whole number")
    number = operator.index(given)
    if not least <= number <= most:
        raise _refusal(field, given, f"a whole number from {least} to {most}")
    return number


def seconds(given: Duration, *, field: str, least: float = 0.0) -> float:
    """Seconds of `90`, "1m30s" or a `timedelta`; at least `least`."""
    if isinstance(given, timedelta):
        amount = given.total_seconds()
    elif isinstance(given, str):
        amount = _parsed_duration(given, field)
    else:
        amount = _number(given, field)
    if not amount >= least:
        raise _refusal(field, given, f"a duration of at least {format_duration(least)}")
    return amount


def point(given: Point, *, field: str) -> datetime:
    """A point in time, in UTC, of a `datetime` with a zone or its ISO 8601 text."""
    moment = given
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise _refusal(
                field, given, 'a datetime or ISO 8601 such as "2030-01-31T08:00Z"'
            ) from None
    if not isinstance(moment, datetime):
        raise _refusal(field, given, "a datetime with a zone")
    if moment.tzinfo is None:
        raise _refusal(field, given, "a point with a zone, such as datetime.now(UTC)")
    return moment.astimezone(UTC)


def format_bytes(amount: float) -> str:
    """An amount for people: "8 GiB", "1.5 MiB", "12 B"."""
    power = 0
    while abs(amount) >= _KIBI and power < len(_BYTE_UNITS) - 1:
        amount /= _KIBI
        power += 1
    number = f"{amount:.0f}" if abs(amount) >= _THREE_DIGITS else f"{amount:.3g}"
    return f"{number} {_BYTE_UNITS[power]}"


def format_duration(amount: float) -> str:
    """A duration for people, two units at most: "850ms", "12s", "3m20s", "4d02h"."""
    if 0 < amount < _MILLI:
        return f"{amount * 1_000_000:.0f}µs"
    if 0 < amount < 1:
        return f"{amount * 1000:.0f}ms"
    if amount < _TENTHS_SHOWN_BELOW_S:
        return f"{amount:.1f}".removesuffix(".0") + "s"
    total = round(amount)
    for size, unit, smaller_size, smaller in _LADDER:
        if total >= size:
            rest = total % size // smaller_size
            return f"{total // size}{unit}" + (f"{rest:02d}{smaller}" if rest else "")
    return f"{total}s"


def format_cpus(thousandths: int) -> str:
    """CPUs for people: "4", "0.5"."""
    return f"{thousandths / 1000:g}"


def _parsed_duration(given: str, field: str) -> float:
    if _PLAIN.fullmatch(given):
        return float(given)
    if not _DURATION.fullmatch(given):
        raise _refusal(field, given, 'seconds or a duration such as "90s", "10m" or "1h30m"')
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(given))


def _number(given: object, field: str) -> float | int:
    # numpy's numbers, fractions and decimals are numbers, too; text and truth values are not.
    # Plain numbers first: asking for a protocol takes longer than everything else here.
    if isinstance(given, bool | str) or not isinstance(given, int | float | SupportsFloat):
        raise _refusal(field, given, "a number")
    number = given if isinstance(given, int) else float(given)
    if not math.isfinite(number):
        raise _refusal(field, given, "a finite number")
    return number


def _refusal(field: str, given: object, allowed: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{field} cannot be {given!r}; give {allowed}",
        field=field,
        given=repr(given),
        allowed=allowed,
    )
