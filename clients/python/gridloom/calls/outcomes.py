"""From the stored results of a group to what became of its items, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridloom.api.functions.v1 import call_pb2
from gridloom.calls.future import OK
from gridloom.calls.shape import last_of
from gridloom.errors import exception_from_call_error
from gridloom.payload import LARGE
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gridloom.calls.reading import Part
    from gridloom.calls.shape import Shape
    from gridloom.payload import PayloadCodec


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item, or of a whole chunk that failed as one."""

    offset: int
    value: Any = None
    error: BaseException | None = None

    def given(self, *, return_exceptions: bool) -> Any:
        """The item's value; its error is raised, or handed over like a value."""
        if self.error is not None and not return_exceptions:
            raise self.error
        return self.value if self.error is None else self.error


class Unfolding:
    """Makes outcomes of parts: as they come, or `in_order`, each after those before it."""

    def __init__(self, codec: PayloadCodec, *, is_map: bool, in_order: bool) -> None:
        self._codec = codec
        self._is_map = is_map
        self._in_order = in_order
        self._early: dict[int, Outcome] = {}
        self._expected = 0

    def take(self, part: Part) -> list[Outcome]:
        """Those whose turn has come with this part."""
        outcomes = outcomes_of(part, self._codec, is_map=self._is_map)
        return list(self._ordered(outcomes) if self._in_order else outcomes)

    def rest(self) -> list[Outcome]:
        """Those that were waiting for others when everything was over."""
        return [self._early.pop(offset) for offset in sorted(self._early)]

    def _ordered(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        for outcome in outcomes:
            self._early[outcome.offset] = outcome
            while self._expected in self._early:
                yield self._early.pop(self._expected)
                self._expected += 1


def is_large(part: Part) -> bool:
    """Whether the values of a part lie elsewhere and have to be fetched."""
    return part.status == OK and part.value[:1] == LARGE


def outcomes_of(part: Part, codec: PayloadCodec, *, is_map: bool) -> Iterator[Outcome]:
    """The items in a part of a group's results. In a map every call is a chunk."""
    if part.status != OK:
        for offset in range(part.offset, part.offset + max(part.items, 1)):
            error = call_pb2.CallError.FromString(part.value)
            yield Outcome(offset, error=exception_from_call_error(part.status, error))
        return
    try:
        value = codec.decode(part.value)
    except Exception as error:  # noqa: BLE001  # unpickling runs the user's code
        yield Outcome(part.offset, error=error)
        return
    values = value if is_map or part.items else [value]
    for position, one in enumerate(values):
        yield Outcome(part.offset + position, one)


def shaped(outcomes: Iterable[Outcome], shape: Shape | None) -> Any:
    """The result of a workflow: the last call's value where nothing is said of a shape."""
    found = {one.offset: one for one in outcomes}
    return _filled(found, last_of(found) if shape is None else shape)


def _filled(found: dict[int, Outcome], shape: Shape) -> Any:
    if isinstance(shape, list):
        return [_filled(found, one) for one in shape]
    return found[shape].given(return_exceptions=False)
