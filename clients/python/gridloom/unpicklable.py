"""Finds the part of a value that cannot be pickled, after pickling the whole has failed.

The search goes down from the roots, at each level into the first part that fails by itself. It
costs a pickle of everything at each level, and is made only when an error is certain.
"""

from __future__ import annotations

import pickle
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Part = tuple[str, Any]

_DEEPEST = 50


class _Discard:
    """A file that keeps nothing."""

    def write(self, data: bytes | memoryview) -> int:
        """Take the bytes and drop them."""
        return memoryview(data).nbytes


def unpicklable_part(roots: Iterable[Part]) -> tuple[str, str] | None:
    """Path and reason of the deepest part that fails; None where every root passes by itself."""
    failed = _first_failing(roots, seen=set())
    if failed is None:
        return None
    path, value, reason = failed
    seen = {id(value)}
    for _ in range(_DEEPEST):
        inner = _first_failing(((path + step, part) for step, part in _parts(value)), seen)
        if inner is None:
            break
        path, value, reason = inner
        seen.add(id(value))
    return path, reason


def _first_failing(parts: Iterable[Part], seen: set[int]) -> tuple[str, Any, str] | None:
    for path, value in parts:
        if id(value) in seen:
            continue
        reason = _reason_against(value)
        if reason is not None:
            return path, value, reason
    return None


def _reason_against(value: Any) -> str | None:
    import cloudpickle

    from gridloom.payload import Pending

    def persistent_id(part: Any) -> int | None:
        return id(part) if isinstance(part, Pending) else None

    kind = type("Pickler", (cloudpickle.Pickler,), {"persistent_id": staticmethod(persistent_id)})
    try:
        kind(_Discard(), pickle.HIGHEST_PROTOCOL, buffer_callback=lambda _: False).dump(value)
    except Exception as error:  # noqa: BLE001  # a class's own `__reduce__` may raise anything
        return str(error) or type(error).__name__
    return None


def _parts(value: Any) -> Iterator[Part]:
    """What a value is made of, each with the step that leads to it."""
    for kind, parts in _PARTS_BY_TYPE:
        if isinstance(value, kind):
            yield from parts(value)
            break
    yield from _attributes(value)


def _of_mapping(value: dict[Any, Any]) -> Iterator[Part]:
    for key, part in value.items():
        yield f"[{_key_text(key)}]", part
    for key in value:
        yield f" key {_key_text(key)}", key


def _of_sequence(value: Iterable[Any]) -> Iterator[Part]:
    for number, part in enumerate(value):
        yield f"[{number}]", part


def _of_set(value: Iterable[Any]) -> Iterator[Part]:
    for part in value:
        yield "{" + _short(part) + "}", part


def _of_function(value: types.FunctionType) -> Iterator[Part]:
    """What a function drags along: its closure, its defaults, the globals that it names."""
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
        try:
            yield f".<closure>.{name}", cell.cell_contents
        except ValueError:  # not bound yet
            continue
    yield from _steps(".__defaults__", value.__defaults__ or ())
    for name in value.__code__.co_names:
        if name in value.__globals__:
            yield f".<globals>.{name}", value.__globals__[name]


def _of_method(value: types.MethodType) -> Iterator[Part]:
    yield ".__self__", value.__self__


def _steps(prefix: str, values: Iterable[Any]) -> Iterator[Part]:
    for number, part in enumerate(values):
        yield f"{prefix}[{number}]", part


def _attributes(value: Any) -> Iterator[Part]:
    """The attributes that are pickled, by `__getstate__` where the class has its own."""
    try:
        state = value.__getstate__()
    except Exception:  # noqa: BLE001  # the class's own; then there is nothing to go down to
        return
    states = state if isinstance(state, tuple) else (state,)
    for attributes in states:
        if isinstance(attributes, dict):
            for name, part in attributes.items():
                yield f".{name}", part


def _key_text(key: Any) -> str:
    """As a user writes it."""
    return f'"{key}"' if isinstance(key, str) else _short(key)


def _short(value: Any) -> str:
    longest = 40
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."


_PARTS_BY_TYPE: tuple[tuple[type | tuple[type, ...], Callable[[Any], Iterator[Part]]], ...] = (
    (dict, _of_mapping),
    ((list, tuple), _of_sequence),
    ((set, frozenset), _of_set),
    (types.FunctionType, _of_function),
    (types.MethodType, _of_method),
)
