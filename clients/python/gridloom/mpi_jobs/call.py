"""A function and its arguments on their way to the ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridloom.calls.definition import function_name, importable
from gridloom.errors import UnpicklableError
from gridloom.mpi_jobs.request import FunctionCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def function_call(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    root_only: bool = False,
) -> FunctionCall:
    """The call as it travels. UnpicklableError names the argument that cannot."""
    call = pickled_call(function, args, kwargs)
    return FunctionCall(function_name(function), call, modules_of(function), root_only)


def modules_of(function: Callable[..., Any]) -> bytes:
    """The user's own modules that it needs, a zip; empty where it needs none."""
    from gridloom.worker.bundle import bundle_for

    bundle = bundle_for(function)
    return bundle.data if bundle else b""


def pickled_call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bytes:
    """What a rank opens: the function by name where it can be imported there, and the arguments."""
    import cloudpickle

    traveller: Any = importable(function) or function
    try:
        data: bytes = cloudpickle.dumps((traveller, args, dict(kwargs)), 5)
    except Exception as error:
        raise _unpicklable(traveller, args, kwargs, error) from error
    return data


def _unpicklable(
    traveller: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception
) -> UnpicklableError:
    from gridloom.unpicklable import unpicklable_part

    roots = [("function", traveller)]
    roots += [(f"args[{index}]", value) for index, value in enumerate(args)]
    roots += list(kwargs.items())
    path, reason = unpicklable_part(roots) or ("", str(error) or type(error).__name__)
    return UnpicklableError(f"{path}: {reason}" if path else reason, path=path)
