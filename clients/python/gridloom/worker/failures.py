"""What a call raised, on its way to the client; and what its worker says of it."""

from __future__ import annotations

import functools
import itertools
import pickle
import traceback
from typing import TYPE_CHECKING, Any, TypeVar

from gridloom.api.functions.v1 import call_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_OWN_FILES = "/gridloom/worker/"
# Each chain of causes ends; one that was tied to a ring does not.
_LONGEST_CHAIN = 32
_LONGEST_TEXT = 256 * 1024


class CallInterrupt(KeyboardInterrupt):
    """Raised inside a call that was cancelled. User code sees a Ctrl-C."""


class CallTimeoutError(TimeoutError):
    """Raised inside a call that has run longer than its time-out."""


def call_error(error: BaseException) -> call_pb2.CallError:
    """An exception as it travels: pickled, with its causes, if it can be; always as text."""
    kind = type(error)
    return call_pb2.CallError(
        type=f"{kind.__module__}.{kind.__qualname__}",
        message=_text(error),
        traceback=_traceback(error),
        pickle=_pickled(error),
    )


def own_error(
    name: str, message: str, *, raised: BaseException | None = None, **details: object
) -> call_pb2.CallError:
    """An error of ours by the name of its class in `gridloom.errors`; `raised` says where."""
    return call_pb2.CallError(
        type=f"gridloom.errors.{name}",
        message=message,
        traceback="" if raised is None else _traceback(raised),
        details={key: str(value) for key, value in details.items()},
    )


def not_begun() -> call_pb2.CallError:
    """What becomes of a call that is cancelled in time."""
    return own_error("CancelledError", "it was cancelled before it began")


def stopped(raised: BaseException | None = None) -> call_pb2.CallError:
    """What becomes of a call that is cancelled while it runs; `raised` says where it was."""
    return own_error("CancelledError", "it was cancelled while it ran", raised=raised)


def too_late(name: str, timeout_ns: int, raised: BaseException | None = None) -> call_pb2.CallError:
    """What becomes of a call of the function `name` that runs longer than it may."""
    limit_s = timeout_ns / 1e9
    message = f"{name} ran longer than its time-out of {limit_s:g} s"
    return own_error("TimeLimitError", message, raised=raised, limit_s=limit_s)


def _tried(work: Callable[[], T], otherwise: T) -> T:
    """What users' classes do when they are shown or pickled may fail in any way."""
    try:
        return work()
    except Exception:  # noqa: BLE001  # as said
        return otherwise


def _text(error: BaseException) -> str:
    return _tried(lambda: str(error), f"<{type(error).__name__} that cannot be shown>")


def _traceback(error: BaseException) -> str:
    """The traceback without the worker's own frames above the user's."""
    trace = error.__traceback__
    while trace is not None and _OWN_FILES in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    text = "".join(
        _tried(
            lambda: traceback.format_exception(type(error), error, trace),
            [*traceback.format_tb(trace), type(error).__qualname__],
        )
    )
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "\n[cut]"


def _pickled(error: BaseException) -> bytes:
    """A pickle that opens as the exception with its causes, or nothing."""
    import cloudpickle

    chain = _chain(error)
    for errors in (chain, chain[:1]):
        for dumps in (pickle.dumps, cloudpickle.dumps):
            data = _tried(functools.partial(_pickle_that_opens, errors, dumps), b"")
            if data:
                return data
    return b""


def _pickle_that_opens(errors: list[BaseException], dumps: Callable[..., bytes]) -> bytes:
    """It is opened here once: many classes pickle well and then refuse their own arguments."""
    data = dumps(_Chained(errors), 5)
    opened = pickle.loads(data)  # noqa: S301  # our own
    return data if type(opened) is type(errors[0]) else b""


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and len(chain) < _LONGEST_CHAIN:
        chain.append(cause)
    return chain


class _Chained:
    """Opens as the first of its errors, caused by the next, and so on."""

    def __init__(self, errors: list[BaseException]) -> None:
        self._errors = errors

    def __reduce__(self) -> tuple[Any, tuple[list[BaseException]]]:
        return _linked, (self._errors,)


def _linked(errors: list[BaseException]) -> BaseException:
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]
