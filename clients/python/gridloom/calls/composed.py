"""Functions made of the user's: what one call of a workflow or a reduction runs on its worker."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, cast

from gridloom.calls.definition import importable
from gridloom.items import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Composed:
    """Above a user's function. Travels with it, by name or by value, as the function would."""

    # What each kind is called with differs.
    __call__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], *more: Any) -> None:
        self.__wrapped__ = function
        self.__module__ = getattr(function, "__module__", __name__)
        self.__qualname__ = getattr(function, "__qualname__", type(function).__qualname__)
        self.more = more

    def __reduce__(self) -> tuple[Any, ...]:
        function = self.__wrapped__
        return type(self), (importable(function) or function, *self.more)


class Then(Composed):
    """Calls the function without what came before it."""

    def __call__(self, before: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The function's own result."""
        del before
        return self.__wrapped__(*args, **kwargs)


class ThenAsync(Composed):
    """The same for an `async def` function."""

    async def __call__(self, before: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The function's own result."""
        del before
        return await self.__wrapped__(*args, **kwargs)


class Several(Composed):
    """Calls the function with each tuple of arguments: the list of its results."""

    def __call__(self, arguments: Iterable[Iterable[Any]]) -> list[Any]:
        """One after the other."""
        return [self.__wrapped__(*one) for one in arguments]


class SeveralAsync(Composed):
    """The same for an `async def` function."""

    async def __call__(self, arguments: Iterable[Iterable[Any]]) -> list[Any]:
        """Side by side."""
        import asyncio

        return await asyncio.gather(*(self.__wrapped__(*one) for one in arguments))


class MapReduced(Composed):
    """Calls the function for each item and folds the results by the function given besides."""

    def __call__(self, packed: Any) -> Any:
        """One value for all the items, which came as `Items.packed` has them."""
        results = (self.__wrapped__(*args, **kwargs) for args, kwargs in opened(packed).calls())
        return functools.reduce(self.more[0], results)


class MapReducedAsync(Composed):
    """The same for an `async def` function."""

    async def __call__(self, packed: Any) -> Any:
        """One value for all the items, which are worked on side by side."""
        import asyncio

        calls = (self.__wrapped__(*args, **kwargs) for args, kwargs in opened(packed).calls())
        return functools.reduce(self.more[0], await asyncio.gather(*calls))


class Folded(Composed):
    """Folds results of the function beneath, which itself is the fold."""

    def __call__(self, values: Iterable[Any]) -> Any:
        """One value for all of them, in order."""
        return functools.reduce(self.__wrapped__, values, *self.more)


_ASYNC: dict[type[Composed], type[Composed]] = {
    Then: ThenAsync,
    Several: SeveralAsync,
    MapReduced: MapReducedAsync,
}


def composed(kind: type[Composed], function: Callable[..., Any], *more: Any) -> Composed:
    """The composition for a function, of the kind that awaits where the function is to be."""
    if inspect.iscoroutinefunction(function):
        kind = _ASYNC.get(kind, kind)
    try:
        return _made(cast("Any", kind), function, *more)
    except TypeError:  # not hashable: it is pickled anew each time
        return kind(function, *more)


@functools.lru_cache(maxsize=256)
def _made(kind: Any, function: Callable[..., Any], *more: Any) -> Composed:
    made: Composed = kind(function, *more)
    return made
