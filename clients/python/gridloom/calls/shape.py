"""What the result of a workflow is made of: one call's value, or lists of calls' values.

A group's kind says it to whoever reads the group later: "chord 5" is the value of the sixth call,
"group [0-9]" a list of ten values, "chain [[3-4],7]" a list of a list and a value.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Shape: TypeAlias = "int | list[Shape]"


def kind_of_shape(word: str, shape: Shape) -> str:
    """A group's kind: the word for it and the shape of its result."""
    return f"{word} {_written(shape)}"


def parse_kind(kind: str) -> tuple[str, Shape | None]:
    """The word and the shape; None where the kind says nothing of a shape."""
    word, _, written = kind.partition(" ")
    return word, _read(written) if written else None


def filled(shape: Shape, results: Sequence[Any]) -> Any:
    """The shape with results in the place of their calls' numbers."""
    if isinstance(shape, list):
        return [filled(one, results) for one in shape]
    return results[shape]


def members(shape: Shape) -> list[int]:
    """The calls that a result is made of, in order."""
    if isinstance(shape, list):
        return [number for one in shape for number in members(one)]
    return [shape]


def last_of(numbers: Iterable[int]) -> int:
    """The shape of a group whose last call has the result."""
    return max(numbers)


def _written(shape: Shape) -> str:
    if isinstance(shape, int):
        return str(shape)
    parts: list[str] = []
    for is_number, run in groupby(shape, lambda one: isinstance(one, int)):
        if is_number:
            parts += _ranges([one for one in run if isinstance(one, int)])
        else:
            parts += [_written(one) for one in run]
    return f"[{','.join(parts)}]"


def _ranges(numbers: list[int]) -> list[str]:
    """Consecutive numbers as first-last."""
    found: list[str] = []
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        found.append(f"{members[0]}-{members[-1]}" if len(members) > 1 else str(members[0]))
    return found


def _read(written: str) -> Shape:
    stack: list[list[Shape]] = [[]]
    for word in written.replace("[", " [ ").replace("]", " ] ").replace(",", " ").split():
        if word == "[":
            stack.append([])
        elif word == "]":
            closed = stack.pop()
            stack[-1].append(closed)
        else:
            first, _, last = word.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            stack[-1].extend(numbers)
    return stack[0][0]
