"""The items of a chunk: what the calls of a map have in common is said once.

Of most maps an item is one value or one tuple of arguments, and everything else is the same for
all. So a chunk is a list of what is each item's own, and a form that makes calls of it. As a list
it is taken from the user's iterable, pickled, opened and run through without a step of Python for
each item.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from gridloom.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Call: TypeAlias = tuple[tuple[Any, ...], "Mapping[str, Any]"]

# What is each item's own: a value, its positional arguments, or a pair `(args, kwargs)`.
VALUE, ARGUMENTS, CALL = range(3)


class Form(NamedTuple):
    """What items have in common: their kind, the arguments before their own, and those by name."""

    kind: int
    bound: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}

    def call(self, item: Any) -> Call:
        """The arguments of an item's call."""
        if self.kind == VALUE:
            return (*self.bound, item), self.kwargs
        if self.kind == ARGUMENTS:
            return (*self.bound, *item), self.kwargs
        args, kwargs = item
        return (*self.bound, *args), kwargs

    def after(self, bound: tuple[Any, ...]) -> Form:
        """The same with more arguments before all others."""
        return self._replace(bound=(*bound, *self.bound))


class Items(NamedTuple):
    """Some items of one form."""

    form: Form
    own: list[Any]

    def calls(self) -> Iterator[Call]:
        """The arguments of each item's call."""
        return map(self.form.call, self.own)

    def call(self, number: int) -> Call:
        """The arguments of one."""
        return self.form.call(self.own[number])

    def packed(self) -> Any:
        """What is pickled: `opened` undoes it."""
        return (*self.form, self.own)

    def callee(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with what the items have in common: it takes what is each one's own."""
        _, bound, kwargs = self.form
        return partial(function, *bound, **kwargs) if bound or kwargs else function


def opened(packed: Any) -> Items:
    """The items of a chunk, also of one that was stored before there were forms: a list of calls.

    InternalError: this version knows no such form.
    """
    if isinstance(packed, list):
        return Items(Form(CALL), packed)
    kind, bound, kwargs, own = packed
    if kind not in {VALUE, ARGUMENTS, CALL}:
        raise InternalError(
            f"a chunk's items are of kind {kind!r}, which this version of gridloom does not know:"
            " the workers' version is older than the client's"
        )
    return Items(Form(kind, bound, kwargs), own)
