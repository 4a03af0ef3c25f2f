"""Values as JSON text for the columns that nothing is searched by.

What equals its default is left out, so rows stay lean and older rows are read by newer code. The
text of a specification is canonical: equal specifications have equal texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from types import MappingProxyType
from typing import Any, Final, TypeVar

from gridloom.values import replace

from gridloom_services.scheduler.job import (
    Elastic,
    GangOutput,
    Member,
    Outcome,
    ReplicaEnd,
    StopOrder,
    Usage,
)
from gridloom_services.scheduler.runs import Run
from gridloom_services.scheduler.runtime.base import (
    Assignment,
    InputFile,
    OutputFile,
    Secret,
    Volume,
)
from gridloom_services.scheduler.spec import (
    ArraySpec,
    Condition,
    Dependency,
    JobSpec,
    Range,
    RetryPolicy,
    Role,
    are_alike,
    shared_mapping,
)
from gridloom_services.scheduler.states import FailureClass, JobState

T = TypeVar("T")
Reader = Callable[[Any], Any]

_encode: Final = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, sort_keys=True, check_circular=False
).encode


def _tuple_of(read: Reader) -> Reader:
    return lambda values: tuple(read(each) for each in values)


def _value_of(cls: type[T]) -> Callable[[dict[str, Any]], T]:
    """Return what makes a `cls` of the mapping that `_plain` made of one."""

    def read(data: dict[str, Any]) -> T:
        for name, reader in _READERS.get(cls, {}).items():
            if name in data:
                data[name] = reader(data[name])
        return cls(**data)

    return read


def _retries(data: Mapping[str, int]) -> Mapping[FailureClass, int]:
    return MappingProxyType({FailureClass(int(key)): count for key, count in data.items()})


# What a field's JSON becomes, where it is not itself.
_READERS: Final[dict[type, dict[str, Reader]]] = {
    JobSpec: {
        "roles": _tuple_of(_value_of(Role)),
        "array": _value_of(ArraySpec),
        "dependencies": _tuple_of(_value_of(Dependency)),
        "retry": _value_of(RetryPolicy),
        "labels": shared_mapping,
    },
    Role: {
        "command": tuple,
        "env": shared_mapping,
        "files": _tuple_of(_value_of(InputFile)),
        "outputs": tuple,
        "volumes": _tuple_of(_value_of(Volume)),
        "secrets": _tuple_of(_value_of(Secret)),
        "resources": shared_mapping,
        "stdin": _value_of(InputFile),
    },
    ArraySpec: {"ranges": _tuple_of(_value_of(Range))},
    Dependency: {"condition": Condition},
    RetryPolicy: {"retries": _retries},
    Outcome: {"state": JobState, "failure_class": FailureClass},
    StopOrder: {"outcome": _value_of(Outcome)},
    ReplicaEnd: {
        "state": JobState,
        "failure_class": FailureClass,
        "usage": _value_of(Usage),
    },
    GangOutput: {"file": _value_of(OutputFile)},
}
_VALUES: Final = (*_READERS, Range, InputFile, Volume, Secret, Usage, OutputFile, Assignment)


def _default(each: Field[Any]) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


_FIELDS: Final = {cls: [(each.name, _default(each)) for each in fields(cls)] for cls in _VALUES}


_ITSELF: Final = frozenset({str, int, float, bool, type(None)})


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a value."""
    kind = type(value)
    if kind in _ITSELF:
        return value
    if kind is tuple:
        return [each if type(each) in _ITSELF else _plain(each) for each in value]
    known = _FIELDS.get(kind)
    if known is None:
        return _plain_rest(value)
    found = {}
    for name, default in known:
        part = getattr(value, name)
        if part is not default and (default is MISSING or part != default):
            found[name] = part if type(part) in _ITSELF else _plain(part)
    return found


def _plain_rest(value: Any) -> Any:
    """Return it of a mapping, or of a member of an enum, which is a number."""
    if type(value) is MappingProxyType or isinstance(value, Mapping):
        return {k if type(k) is str else str(int(k)): each for k, each in value.items()}
    return value


def _reader(read: Reader) -> Callable[[str], Any]:
    return lambda text: read(json.loads(text)) if text else ()


def write(value: object) -> str:
    """Return the text of a value; of nothing (None, an empty tuple or mapping) the empty text."""
    return _encode(_plain(value)) if value else ""


class SpecWriter:
    """Writes specifications as `write` does; what alike ones share is written once."""

    def __init__(self) -> None:
        self._last: JobSpec | None = None
        # The text around a request's id and a command, where those can be told from it.
        self._around: list[str] = []

    def write(self, spec: JobSpec) -> str:
        """Return the text of a specification."""
        if not spec.request_id or len(spec.roles) != 1:
            return write(spec)
        if self._last is None or not are_alike(spec, self._last):
            self._last, self._around = spec, _around(spec)
        if len(self._around) != _PARTS_AROUND:
            return write(spec)
        before, between, after = self._around
        command = ",".join(map(_encode, spec.roles[0].command))
        return f"{before}{_encode(spec.request_id)}{between}{command}{after}"


_MARK: Final = "\0here"
_PARTS_AROUND: Final = 3


def _around(spec: JobSpec) -> list[str]:
    role = replace(spec.roles[0], command=(_MARK,))
    return write(replace(spec, request_id=_MARK, roles=(role,))).split(_encode(_MARK))


def write_runs(runs: tuple[Run, ...]) -> str:
    """Return the text of an array's states: [count, state, count, state, ...]."""
    return _encode([part for run in runs for part in (run.count, int(run.state))]) if runs else ""


def read_runs(text: str) -> tuple[Run, ...]:
    """Return the states again."""
    if not text:
        return ()
    runs, first = [], 0
    parts = json.loads(text)
    for count, state in zip(parts[::2], parts[1::2], strict=True):
        runs.append(Run(first, count, JobState(state)))
        first += count
    return tuple(runs)


def read_mapping(text: str) -> Mapping[str, Any]:
    """Return the mapping of names that `write` wrote."""
    return shared_mapping(json.loads(text)) if text else MappingProxyType({})


def read_used(text: str) -> Mapping[FailureClass, int]:
    """Return how many retries of each class were used."""
    return _retries(json.loads(text)) if text else MappingProxyType({})


def read_spec(text: str) -> JobSpec:
    """Return the specification again."""
    return _value_of(JobSpec)(json.loads(text))


def read_stop(text: str) -> StopOrder | None:
    """Return the order to stop, if there is one."""
    return _value_of(StopOrder)(json.loads(text)) if text else None


read_placement: Final[Callable[[str], tuple[Assignment, ...]]] = _reader(
    lambda rows: tuple(Assignment(*row) for row in rows)
)
read_replicas: Final[Callable[[str], tuple[ReplicaEnd, ...]]] = _reader(
    _tuple_of(_value_of(ReplicaEnd))
)
read_outputs: Final[Callable[[str], tuple[GangOutput, ...]]] = _reader(
    _tuple_of(_value_of(GangOutput))
)


def write_placement(placement: tuple[Assignment, ...]) -> str:
    """Return the text of a placement: one short list an assignment."""
    return _encode([[each.role, each.index, each.node] for each in placement])


def read_members(text: str) -> frozenset[Member]:
    """Return a set of replicas again."""
    return frozenset((role, index) for role, index in json.loads(text)) if text else frozenset()


def write_elastic(elastic: Mapping[str, Elastic]) -> str:
    """Return the text of how elastic roles stand: {role: [wanted, next index]}."""
    rows = {role: [each.wanted, each.next_index] for role, each in elastic.items()}
    return _encode(rows) if rows else ""


def read_elastic(text: str) -> Mapping[str, Elastic]:
    """Return how elastic roles stand."""
    rows = json.loads(text) if text else {}
    return MappingProxyType({role: Elastic(*row) for role, row in rows.items()})
