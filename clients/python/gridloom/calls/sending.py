"""Sending one call whose arguments may hold the results of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridloom.calls.future import CallFuture
from gridloom.calls.outbox import Extras
from gridloom.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gridloom.calls.outbox import Sink
    from gridloom.calls.route import Route
    from gridloom.calls.session import Session
    from gridloom.payload import Encoded


def send_call(
    route: Route,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    new: Callable[[Session, str], CallFuture[Any]] = CallFuture,
) -> CallFuture[Any]:
    """Send one call; `new` makes its future. What it cannot be pickled for is raised here."""
    session = route.session
    encode = session.codec.encode_arguments
    encoded = encode(args, kwargs, durable=route.durable)
    future = new(session, route.label)
    if route.is_plain and not encoded.dependencies and not encoded.objects:
        session.outbox.put(route.spec, encoded.data, future)
    else:
        put_encoded(route, future, encoded, lambda: encode(args, kwargs, durable=route.durable))
    if route.tracker is not None:
        route.tracker.add(session, future.number)
    return future


def put_encoded(
    route: Route, sink: Sink, encoded: Encoded, again: Callable[[], Encoded], *, items: int = 0
) -> None:
    """Put a call with all that its arguments refer to.

    Results that have come meanwhile are pickled with them, by `again`; where one has failed, the
    call fails with its error and is not sent.
    """
    while True:
        needed: tuple[Any, ...] = encoded.dependencies
        failed = next((one for one in needed if one.is_over and not one.settled), None)
        if failed is not None:
            route.session.objects.unshare(encoded.objects)
            sink._sequence = 0  # noqa: SLF001  # it has no number: it is never sent
            sink.fail(_error_of(failed))
            return
        extras = Extras(items, needed, encoded.objects)
        is_put = False
        try:
            is_put = route.session.put(route.spec, encoded.data, sink, extras, route.listener)
        finally:
            if not is_put:
                route.session.objects.unshare(encoded.objects)
        if is_put:
            return
        encoded = again()


def _error_of(future: CallFuture[Any]) -> BaseException:
    try:
        return future.exception() or CancelledError(f"{future.id} has no result")
    except CancelledError as error:
        return error
