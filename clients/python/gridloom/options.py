"""Options by keyword: a misspelt one is refused with the nearest valid one; and their defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from gridloom.errors import InvalidRequestError
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the context says where a request says nothing."""

    project: str = ""
    queue: str = ""


def check_options(given: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuse the first of `given` that is not among `allowed`, naming the likeliest one meant."""
    valid = frozenset(allowed)
    for option in given:
        if option not in valid:
            known = sorted(valid)
            raise InvalidRequestError(
                f'unknown option "{option}"; {_advice(option, known)}',
                field=option,
                given=option,
                allowed=", ".join(known),
            )


def check_choice(field: str, given: str, allowed: Iterable[str]) -> None:
    """Refuse a value of `field` that is not among `allowed`."""
    known = list(allowed)
    if given not in known:
        near = nearest(given, known)
        advice = f'; did you mean "{near}"?' if near else f"; use one of: {', '.join(known)}"
        raise InvalidRequestError(
            f'{field} cannot be "{given}"{advice}',
            field=field,
            given=given,
            allowed=", ".join(known),
        )


class Spelled:
    """Base of dataclasses that users make by keyword: a misspelt one is refused as above."""

    __slots__ = ()

    def __new__(cls, *args: Any, **words: Any) -> Self:
        """Look at the keywords; the dataclass does the rest."""
        del args
        if words:
            known: dict[str, Any] = cls.__dataclass_fields__  # type: ignore[attr-defined]
            check_options(words, known)
        return super().__new__(cls)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` was probably meant to be, if any is near."""
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def _advice(option: str, known: list[str]) -> str:
    near = nearest(option, known)
    return f'did you mean "{near}"?' if near else f"options are: {', '.join(known)}"
