"""`@gridloom.mpi`: a function that runs on every rank, with the communicator as first argument."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack, cast

from gridloom.calls.definition import function_name, importable
from gridloom.errors import InvalidRequestError
from gridloom.mpi_jobs.options import FUNCTION_WORDS, MpiFunctionOptions, checked_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.client import Client
    from gridloom.mpi_jobs.future import MpiFuture
    from gridloom.mpi_jobs.signature import MpiSignature

P = ParamSpec("P")
R = TypeVar("R")


class MpiFunction(Generic[P, R]):
    """A function and how many ranks it runs on. It never changes; `options` makes a copy.

    Calling it with a communicator runs it here, as one rank of that.
    """

    __qualname__: str

    def __init__(self, function: Callable[..., R], options: MpiFunctionOptions) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._options = options

    def __call__(self, comm: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here."""
        return self._function(comm, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<gridloom.MpiFunction {self.__module__}.{self.name}>"

    @property
    def name(self) -> str:
        """How people call the function."""
        return function_name(self._function)

    @property
    def function(self) -> Callable[..., R]:
        """The plain function."""
        return self._function

    @property
    def call_options(self) -> MpiFunctionOptions:
        """The options that it has."""
        return cast("MpiFunctionOptions", dict(self._options))

    def options(self, **changes: Unpack[MpiFunctionOptions]) -> MpiFunction[P, R]:
        """The same function with other options; what is not named stays, None takes a word out."""
        merged: dict[str, Any] = {**self._options, **changes}
        kept = {word: value for word, value in merged.items() if value is not None}
        checked = checked_options(kept, FUNCTION_WORDS)
        return MpiFunction(self._function, cast("MpiFunctionOptions", checked))

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> MpiFuture[Any]:
        """Run it on ranks of the platform; the communicator is given to it there."""
        from gridloom.client import current_client

        return self.submit_to(current_client(), args, kwargs)

    def submit_to(
        self, client: Client, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> MpiFuture[Any]:
        """The same on this client's platform."""
        future: MpiFuture[Any] = client.mpi.submit_with(self._function, self._options, args, kwargs)
        return future

    def s(self, *args: P.args, **kwargs: P.kwargs) -> MpiSignature:
        """A call to be made later, or several times: by a scaling study, say."""
        from gridloom.mpi_jobs.signature import MpiSignature

        return MpiSignature(self, args, kwargs)

    def __reduce__(self) -> str | tuple[Any, ...]:
        if importable(self):
            return str(self.__qualname__)
        return MpiFunction, (importable(self._function) or self._function, self._options)


def mpi(
    *bare: object,
    **options: Unpack[MpiFunctionOptions],
) -> Callable[[Callable[Concatenate[Any, P], R]], MpiFunction[P, R]]:
    """Make a function that runs on ranks: `@gridloom.mpi(ranks=8)`; see `MpiOptions`.

    Without parentheses it is an `InvalidRequestError`: nothing says how many ranks.
    """
    if bare:
        raise InvalidRequestError(
            f"how many ranks? Write @gridloom.mpi(ranks=4), say; {bare[0]!r} is no number of ranks",
            field="ranks",
            given=repr(bare[0]),
            allowed="@gridloom.mpi(ranks=NUMBER, ...)",
        )
    checked = cast("MpiFunctionOptions", checked_options(options, FUNCTION_WORDS))
    return lambda function: MpiFunction(function, checked)
