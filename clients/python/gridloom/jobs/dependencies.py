"""What must be over first: handles or ids, alone or in lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeAlias, runtime_checkable

from gridloom import ids
from gridloom.errors import InvalidRequestError


@runtime_checkable
class HasId(Protocol):
    """A handle."""

    @property
    def id(self) -> str:
        """Its id."""
        ...


Dependencies: TypeAlias = str | HasId | Iterable[str | HasId]


def job_ids(given: Dependencies, *, field: str) -> list[str]:
    """The ids of the jobs (or array elements) that are meant."""
    found = list(_each(given, field))
    for identifier in found:
        ids.split_job_id(identifier)
    return found


def _each(given: object, field: str) -> Iterator[str]:
    for one in _flat(given, field):
        yield one if isinstance(one, str) else one.id


def flat(given: Dependencies, *, field: str) -> list[str | HasId]:
    """Every handle and id that is meant, which may have come from an iterator."""
    return list(_flat(given, field))


def handles_by_id(given: Iterable[str | HasId]) -> dict[str, Any]:
    """The handles among what was given."""
    return {one.id: one for one in given if not isinstance(one, str)}


def _flat(given: object, field: str) -> Iterator[str | HasId]:
    if isinstance(given, str):
        yield from (part.strip() for part in given.split(",") if part.strip())
    elif isinstance(given, HasId):
        yield given
    elif isinstance(given, Iterable):
        for one in given:
            yield from _flat(one, field)
    else:
        raise InvalidRequestError(
            f"{field} cannot be {given!r}; give jobs or their ids",
            field=field,
            given=repr(given),
            allowed="handles or ids of jobs",
        )
