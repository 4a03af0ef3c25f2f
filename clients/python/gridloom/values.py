"""`dataclass`, as the standard library's, at a sixth of the cost to define a class.

The standard library writes and compiles up to six methods for each class when it is defined. Here
they are shared functions, and `__init__` is compiled when the first instance is made: of the
hundreds of values that a platform's start imports, few are ever made. `dataclasses.fields`,
`replace`, `asdict` and `astuple`, pickle and copy, `match` and type checkers see no difference.

Of the options there are `frozen`, `slots`, `eq`, `order` and `kw_only`; of the pseudo-fields
`ClassVar`.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter

# What type checkers read; importing `typing` costs more than this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from dataclasses import dataclass, replace
    from typing import Any

    __all__ = ["dataclass", "replace"]

else:

    def dataclass(
        cls: type | None = None,
        /,
        *,
        frozen: bool = False,
        eq: bool = True,
        order: bool = False,
        **options: bool,
    ) -> Any:
        """Make a class of values, see `dataclasses.dataclass`."""

        def made(cls: type) -> type:
            # All that is left to the standard library: the fields, slots and match arguments.
            new = dataclasses.dataclass(init=False, repr=False, eq=False, **options)(cls)
            own = vars(new)
            if "__init__" not in own:
                new.__init__ = _first_init(new)
            if "__repr__" not in own:
                new.__repr__ = _repr
            if eq:
                _compare(new, frozen=frozen)
            if order:
                _order(new)
            if frozen:
                _freeze(new)
            return new

        return made if cls is None else made(cls)

    def replace(value: Any, **changes: Any) -> Any:
        """A changed copy, as `dataclasses.replace` of a value without `__post_init__`.

        It takes a fifth of the time: fields are copied one by one, and the changed ones set.
        """
        cls = value.__class__
        if cls not in _copiers:
            _copiers[cls] = _copier(cls), {each.name for each in dataclasses.fields(cls)}
        copy, names = _copiers[cls]
        new = copy(value)
        for name, changed in changes.items():
            if name not in names:
                raise TypeError(f"{cls.__qualname__} has no field {name!r}")
            object.__setattr__(new, name, changed)
        return new


# What copies a value of each class, made when first needed, and the names of its fields.
_copiers: dict[type, tuple[Callable[[Any], Any], set[str]]] = {}


def _copier(cls: Any) -> Callable[[Any], Any]:
    fields = dataclasses.fields(cls)
    if hasattr(cls, "__post_init__") or not all(each.init for each in fields):
        raise TypeError(f"{cls.__qualname__} is made of more than its fields")
    names: dict[str, Any] = {"_set": object.__setattr__, "_new": object.__new__, "_cls": cls}
    if (open_twin := _open_twin(cls)) is None:
        lines = [f"_set(new, {each.name!r}, value.{each.name})" for each in fields]
        body = "\n    ".join(["new = _new(_cls)", *lines, "return new"])
    else:
        names["_twin"] = open_twin
        lines = [f"new.{each.name} = value.{each.name}" for each in fields]
        body = "\n    ".join(["new = _new(_twin)", *lines, "new.__class__ = _cls", "return new"])
    exec(f"def copy(value):\n    {body}\n", names)  # noqa: S102  # as dataclasses do
    made: Callable[[Any], Any] = names["copy"]
    return made


def _first_init(cls: type) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # errors name it
        # Whoever is first makes the real one, which takes this one's place.
        cls.__init__ = _init(cls)  # type: ignore[misc]
        cls.__init__(self, *args, **kwargs)  # type: ignore[misc]

    return __init__


def _init(cls: Any) -> Callable[..., None]:
    """What takes each field's value, or its default, and sets it whether the class is frozen."""
    names: dict[str, Any] = {"_set": object.__setattr__, "_missing": dataclasses.MISSING}
    fields = dataclasses.fields(cls)
    places = [_parameter(each, names) for each in fields if each.init and not each.kw_only]
    keywords = [_parameter(each, names) for each in fields if each.init and each.kw_only]
    lines = [f"_set(self, {name!r}, {value})" for name, value in _assignments(fields, names)]
    if (open_twin := _open_twin(cls)) is not None:
        names |= {"_cls": cls, "_twin": open_twin, "_become": _become}
        plain = [f"self.{name} = {value}" for name, value in _assignments(fields, names)]
        lines = [
            *("if self.__class__ is _cls:", "    _become(self, _twin)"),
            *(f"    {line}" for line in [*plain, "self.__class__ = _cls"]),
            *("else:", *(f"    {line}" for line in lines)),
        ]
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    parameters = ", ".join(["self", *places, *(["*", *keywords] if keywords else [])])
    body = "\n    ".join(lines or ["pass"])
    exec(f"def __init__({parameters}):\n    {body}\n", names)  # noqa: S102  # as dataclasses do
    made: Callable[..., None] = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__annotations__ = {each.name: each.type for each in fields if each.init}
    return made


def _parameter(field: dataclasses.Field[Any], names: dict[str, Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"{field.name}=_missing"
    if field.default is dataclasses.MISSING:
        return field.name
    names[f"_default_{field.name}"] = field.default
    return f"{field.name}=_default_{field.name}"


def _assignments(
    fields: Iterable[dataclasses.Field[Any]], names: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    for field in fields:
        name, value = field.name, field.name
        if field.default_factory is not dataclasses.MISSING:
            names[f"_make_{name}"] = field.default_factory
            made = f"_make_{name}()"
            value = f"{made} if {name} is _missing else {name}" if field.init else made
        elif not field.init:
            continue
        yield name, value


_FEW = 4
_become = object.__dict__["__class__"].__set__


def _open_twin(cls: type) -> type | None:
    """A class with the same slots whose instances can be changed; None: it cannot be, or need not.

    While a value is made it is one of the twin's: to set an attribute there takes a quarter of the
    time that it takes past the guard of a frozen class.
    """
    slots = vars(cls).get("__slots__", ())
    if (
        cls.__bases__ != (object,)
        or len(slots) < _FEW
        or vars(cls).get("__setattr__") is not _refuse_set
    ):
        return None
    return type(cls.__name__, (), {"__slots__": slots})


def _compare(cls: Any, *, frozen: bool) -> None:
    """Values of one class are equal when their fields are; what cannot change has a hash."""
    fields = dataclasses.fields(cls)
    key = _key([each.name for each in fields if each.compare])
    own = vars(cls)

    def __eq__(self: object, other: object) -> Any:  # noqa: N807
        if other.__class__ is not self.__class__:
            return NotImplemented
        return key(self) == key(other)

    if "__eq__" not in own:
        cls.__eq__ = __eq__
    # Python itself gives a class with an `__eq__` of its own the hash None: that is no wish.
    if own.get("__hash__") is None:
        hashed = [e.name for e in fields if (e.compare if e.hash is None else e.hash)]
        cls.__hash__ = _hash(_key(hashed)) if frozen else None


def _hash(key: Callable[[object], Any]) -> Callable[[object], int]:
    def __hash__(self: object) -> int:  # noqa: N807
        return hash(key(self))

    return __hash__


def _order(cls: Any) -> None:
    key = _key([each.name for each in dataclasses.fields(cls) if each.compare])

    def comparison(name: str) -> Callable[[object, object], Any]:
        compared = getattr(tuple, name)

        def compare(self: object, other: object) -> Any:
            if other.__class__ is not self.__class__:
                return NotImplemented
            return compared(key(self), key(other))

        return compare

    for name in ("__lt__", "__le__", "__gt__", "__ge__"):
        setattr(cls, name, comparison(name))


def _key(names: list[str]) -> Callable[[object], tuple[Any, ...]]:
    """The values of these fields."""
    if len(names) > 1:
        return attrgetter(*names)
    if names:
        only = attrgetter(names[0])
        return lambda value: (only(value),)
    return lambda _: ()


def _repr(self: Any) -> str:
    shown = (
        f"{each.name}={getattr(self, each.name)!r}"
        for each in dataclasses.fields(self)
        if each.repr
    )
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _freeze(cls: Any) -> None:
    cls.__setattr__ = _refuse_set
    cls.__delattr__ = _refuse_delete
    if "__slots__" in vars(cls):
        # Pickle and copy would set the attributes, which is refused.
        cls.__getstate__, cls.__setstate__ = _state, _set_state


def _refuse_set(self: object, name: str, value: object) -> None:
    del self, value
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: object, name: str) -> None:
    del self
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, each.name) for each in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for each, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)
