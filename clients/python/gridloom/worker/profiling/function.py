"""Functions whose calls travel back with a profile, and the profiles that values bring along.

A value that carries a profile is opened as the value itself, wherever it is opened: by the client,
or as the argument of another call. The profile goes to whoever collects them, else nowhere.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from gridloom.worker.profiling.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_thread = threading.local()


class ProfiledFunction:
    """Calls the function; what it returns, or raises, carries the call's profile."""

    def __init__(self, function: Callable[..., Any], kind: str) -> None:
        self._function = function
        self._kind = kind

    def __call__(self, *args: Any, **kwargs: Any) -> Carrier:
        """The value with its profile, not yet opened."""
        recording = Recording(self._kind)
        try:
            with recording:
                value = self._function(*args, **kwargs)
        except BaseException as error:
            error.__dict__["gridloom_profile"] = Carrier(None, recording.encoded())
            raise
        return Carrier(value, recording.encoded())


class Carrier:
    """A value and a profile; unpickled, the value alone."""

    def __init__(self, value: Any, profile: bytes) -> None:
        self._value = value
        self._profile = profile

    def __reduce__(self) -> tuple[Callable[[Any, bytes], Any], tuple[Any, bytes]]:
        return _opened, (self._value, self._profile)


def _opened(value: Any, profile: bytes) -> Any:
    found: list[bytes] | None = getattr(_thread, "found", None)
    if found is not None:
        found.append(profile)
    return value


@contextlib.contextmanager
def collected() -> Iterator[list[bytes]]:
    """The profiles of what this thread unpickles inside the `with`."""
    before = getattr(_thread, "found", None)
    found: list[bytes] = []
    _thread.found = found
    try:
        yield found
    finally:
        _thread.found = before
