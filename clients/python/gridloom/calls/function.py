"""`@gridloom.function`: a function that runs here when it is called, and there when submitted."""

from __future__ import annotations

import functools
import inspect
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack, cast, overload

from gridloom.calls.definition import apply, function_name, importable, is_code
from gridloom.calls.options import CallOptions, checked_options
from gridloom.calls.sending import send_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gridloom.calls.client import Calls
    from gridloom.calls.future import CallFuture
    from gridloom.calls.map import MapResults
    from gridloom.calls.mapping import MapOptions
    from gridloom.calls.route import Route
    from gridloom.calls.signature import Chunks, Signature

P = ParamSpec("P")
R = TypeVar("R")


class Function(Generic[P, R]):
    """A function and how it is to run on the platform. It never changes; `options` makes a copy.

    Calling it runs it here. What travels is the function as it is at its first submission to a
    platform: globals that it uses and cells that it closes over travel with it, once.
    """

    __qualname__: str

    def __init__(
        self,
        function: Callable[P, R],
        options: CallOptions | None = None,
        bound: tuple[Any, ...] = (),
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._options: CallOptions = options or {}
        self._bound = bound
        self._route: Route | None = None
        if inspect.iscoroutinefunction(function) and hasattr(inspect, "markcoroutinefunction"):
            inspect.markcoroutinefunction(self)

    # ---- as a function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now."""
        return self._function(*self._bound, *args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Function[..., R]:
        """As a method: bound to its instance, which travels as the first argument."""
        if instance is None:
            return self
        return Function(self._function, self._options, (instance,))

    def __repr__(self) -> str:
        return f"<gridloom.Function {self.__module__}.{self.name}>"

    # ---- what it is

    @property
    def name(self) -> str:
        """How people call it."""
        return function_name(self._function)

    @property
    def function(self) -> Callable[P, R]:
        """The plain function."""
        return self._function

    @property
    def bound(self) -> tuple[Any, ...]:
        """What goes before the arguments: a method's instance."""
        return self._bound

    @property
    def call_options(self) -> CallOptions:
        """The options that it has."""
        return cast("CallOptions", dict(self._options))

    def options(self, **changes: Unpack[CallOptions]) -> Function[P, R]:
        """The same function with other options; what is not named stays, None takes a word out."""
        merged: dict[str, Any] = {**self._options, **changes}
        kept = {word: value for word, value in merged.items() if value is not None}
        return Function(self._function, checked_options(kept), self._bound)

    # ---- there

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> CallFuture[R]:
        """Call it on the platform. Waits only where the platform is far behind."""
        calls = self.calls
        route = self._route
        if route is None or route.calls is not calls or not route.is_current:
            route = self.route(calls)
        return send_call(route, (*self._bound, *args) if self._bound else args, kwargs)

    def map(self, *iterables: Iterable[Any], **options: Unpack[MapOptions]) -> MapResults[R]:
        """Call it for each item (of several iterables in step); an iterator over the results."""
        return self.calls.map(self, *iterables, **options)

    def starmap(
        self, arguments: Iterable[Iterable[Any]], /, **options: Unpack[MapOptions]
    ) -> MapResults[R]:
        """Call it with each tuple of arguments; an iterator over the results."""
        return self.calls.starmap(self, arguments, **options)

    def map_reduce(self, *iterables: Iterable[Any], **options: Any) -> Any:
        """Call it for each item and fold the results on the workers: `reduce=`, `initial=`.

        As `functools.reduce(reduce, map(self, *iterables), initial)` for an associative `reduce`.
        """
        return self.calls.map_reduce(self, *iterables, **options)

    @property
    def calls(self) -> Calls:
        """Where it is sent: the client of its pool, else the one that was connected last."""
        pool = self._options.get("pool")
        if pool is not None and not isinstance(pool, str):
            return pool.calls
        # Loading it loads gRPC, which a worker that only runs the function does not need.
        client = sys.modules.get("gridloom.client") or import_module("gridloom.client")
        calls: Calls = client.current_client().calls
        return calls

    # ---- as a part of a workflow

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """A call to be made later: in a chain, what comes before is its first argument."""
        from gridloom.calls.signature import Signature

        return Signature(self, args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """A call to be made later that takes nothing from what comes before."""
        from gridloom.calls.signature import Signature

        return Signature(self, args, kwargs, immutable=True)

    def chunks(self, arguments: Iterable[Iterable[Any]], size: int) -> Chunks:
        """Calls with these tuples of arguments, `size` of them one after the other in one call."""
        from gridloom.calls.signature import Chunks

        return Chunks.of(self, arguments, size)

    # ---- for those who send it

    def route(self, calls: Calls) -> Route:
        """The way of its calls on this client's present session."""
        route = self._route
        if route is None or route.calls is not calls or not route.is_current:
            route = self._route = calls.new_route(self)
        return route

    # ---- pickling: by name where that means the same elsewhere

    def __reduce__(self) -> str | tuple[Any, ...]:
        if not self._bound and importable(self):
            return str(self.__qualname__)
        traveller = importable(self._function)
        return _blank, (), (traveller or self._function, self._options, self._bound)

    def __setstate__(self, state: tuple[Any, CallOptions, tuple[Any, ...]]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # an empty one, made by `_blank`


def _blank() -> Function[..., Any]:
    """An empty function for `__setstate__`: a function may refer to itself."""
    return Function.__new__(Function)


@overload
def function(function: Callable[P, R], /) -> Function[P, R]: ...


@overload
def function(
    **options: Unpack[CallOptions],
) -> Callable[[Callable[P, R]], Function[P, R]]: ...


def function(function: Any = None, /, **options: Any) -> Any:
    """Make a function that can run on the platform: `@gridloom.function(cpus=1, retries=2)`.

    Works for `def`, `async def`, methods and anything else that can be called. A misspelt option is
    refused here.
    """
    if function is not None and not callable(function):
        raise TypeError(f"@gridloom.function takes options by name, not {function!r}")
    checked = checked_options(options)
    if function is None:
        return lambda decorated: Function(decorated, checked)
    return Function(function, checked)


def as_function(given: Callable[..., R]) -> tuple[Function[..., R], tuple[Any, ...]]:
    """A callable as a function, and what goes before its arguments.

    An object that can be called holds data: it travels as an argument, not as code.
    """
    if isinstance(given, Function):
        return given, given.bound
    if not callable(given):
        raise TypeError(f"{given!r} cannot be called")
    if is_code(given):
        return _known(given), ()
    return cast("Function[..., R]", _APPLY), (given,)


@functools.lru_cache(maxsize=1024)
def _known(function: Callable[..., Any]) -> Function[..., Any]:
    return Function(function)


_APPLY: Function[..., Any] = Function(apply)
