"""What user code may ask and say while it runs inside a call."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class CurrentCall(NamedTuple):
    """The call that this code runs in.

    `item` counts within a chunk of a map. `attempt` is 1 for the first, greater when the call is
    run again. With `id` and `item` one can tell what has been done already.
    """

    id: str
    item: int
    attempt: int
    function: str
    pool_id: str
    worker_id: str


class Scope(Protocol):
    """A call as its worker sees it."""

    def call(self) -> CurrentCall:
        """Which call it is."""
        ...

    def set_blocked(self, *, blocked: bool) -> None:
        """Tell the service and the host that the call waits, or goes on."""
        ...


_scope: ContextVar[Scope | None] = ContextVar("gridloom_call", default=None)

enter = _scope.set


def current_call() -> CurrentCall | None:
    """The call that this code runs in; None outside of a worker."""
    scope = _scope.get()
    return None if scope is None else scope.call()


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Give the call's slot to others for as long as it waits for them.

    Outside a call, and in threads that a call has started, nothing happens.
    """
    scope = _scope.get()
    if scope is None:
        yield
        return
    scope.set_blocked(blocked=True)
    try:
        yield
    finally:
        scope.set_blocked(blocked=False)
