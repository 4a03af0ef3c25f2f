"""What a job is asked to be: frozen values without behaviour beyond their own arithmetic.

Points in time are whole microseconds since 1970 (UTC), in names that end in `_us`.
"""

from __future__ import annotations

import enum
from dataclasses import field, fields
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from gridloom.values import dataclass

from gridloom_services.scheduler.states import FailureClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.runtime.base import InputFile, Secret, Volume

K = TypeVar("K")
V = TypeVar("V")

# What each of many jobs has of its own, whatever they share.
_OWN = {"request_id", "roles"}

_NOTHING: Mapping[Any, Any] = MappingProxyType({})


def nothing() -> Mapping[Any, Any]:
    """Return the one empty mapping, which nobody can change."""
    return _NOTHING


@lru_cache(maxsize=4096)
def _shared(items: tuple[tuple[Any, Any], ...]) -> Mapping[Any, Any]:
    return MappingProxyType(dict(items))


def shared_mapping(value: Mapping[K, V]) -> Mapping[K, V]:
    """Return an unchangeable copy; equal ones are mostly one object, since jobs are many."""
    return _shared(tuple(sorted(value.items())))


class Condition(enum.IntEnum):
    """What a dependency waits for. The numbers are those of the API and of the stores."""

    AFTER_OK = 1
    AFTER_ANY = 2
    AFTER_FAILURE = 3


@dataclass(frozen=True, slots=True)
class Role:
    """One kind of process of a gang.

    `min_replicas` of them are part of the gang. The rest of an elastic role come and go singly,
    and it may be resized, also beyond `replicas`. With `per_node` so many are on each node, on the
    last one the rest.
    """

    name: str
    command: tuple[str, ...]
    replicas: int = 1
    min_replicas: int = 1
    elastic: bool = False
    colocate: bool = False
    image: str = ""
    env: Mapping[str, str] = field(default_factory=nothing)
    files: tuple[InputFile, ...] = ()
    outputs: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    secrets: tuple[Secret, ...] = ()
    resources: Mapping[str, int] = field(default_factory=nothing)
    workdir: str = ""
    stdin: InputFile | None = None
    per_node: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """Element numbers `first`, `first + step`, ... up to and with `last`."""

    first: int
    last: int
    step: int = 1

    @property
    def numbers(self) -> range:
        """The numbers themselves."""
        return range(self.first, self.last + 1, self.step)


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """The elements of an array: each has a position (0, 1, ...) and a number of its own."""

    ranges: tuple[Range, ...]
    max_parallel: int = 0

    @property
    def size(self) -> int:
        """How many elements there are."""
        return sum(len(part.numbers) for part in self.ranges)

    def number(self, position: int) -> int:
        """Return the own number of the element at `position`."""
        for part in self.ranges:
            if position < len(part.numbers):
                return part.numbers[position]
            position -= len(part.numbers)
        raise IndexError("beyond the last element")

    def position(self, number: int) -> int | None:
        """Return where the element with this number stands; None: there is none."""
        before = 0
        for part in self.ranges:
            if number in part.numbers:
                return before + part.numbers.index(number)
            before += len(part.numbers)
        return None


@dataclass(frozen=True, slots=True)
class Dependency:
    """Another job that must be over first."""

    job_id: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often each class of failure is tried again, and how long each try waits."""

    retries: Mapping[FailureClass, int]
    backoff_us: int = 1_000_000
    max_backoff_us: int = 300_000_000


DEFAULT_RETRIES: Mapping[FailureClass, int] = MappingProxyType(
    {
        FailureClass.NODE_LOST: 3,
        FailureClass.PREEMPTED: 3,
        FailureClass.EVICTED: 3,
        FailureClass.UNSCHEDULABLE: 3,
    }
)
DEFAULT_RETRY = RetryPolicy(DEFAULT_RETRIES)


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What was asked for. Defaults are filled in, except those of the queue."""

    project: str
    queue: str
    roles: tuple[Role, ...]
    name: str = ""
    priority: int = 0
    kind: str = "command"
    array: ArraySpec | None = None
    dependencies: tuple[Dependency, ...] = ()
    retry: RetryPolicy = DEFAULT_RETRY
    time_limit_s: int | None = None
    start_after_us: int | None = None
    deadline_us: int | None = None
    labels: Mapping[str, str] = field(default_factory=nothing)
    request_id: str = ""
    hold: bool = False

    @property
    def elements(self) -> int:
        """How many elements: 1 for what is not an array."""
        return 1 if self.array is None else self.array.size

    def role(self, name: str) -> Role | None:
        """Return the role of that name, if there is one."""
        return next((role for role in self.roles if role.name == name), None)


_COMMON = attrgetter(*(each.name for each in fields(JobSpec) if each.name not in _OWN))
_COMMON_OF_ROLE = attrgetter(*(each.name for each in fields(Role) if each.name != "command"))


def are_alike(one: JobSpec, other: JobSpec) -> bool:
    """Say whether jobs with one role differ by nothing but the request's id and the command."""
    return (
        len(one.roles) == len(other.roles) == 1
        and bool(_COMMON(one) == _COMMON(other))
        and bool(_COMMON_OF_ROLE(one.roles[0]) == _COMMON_OF_ROLE(other.roles[0]))
    )
