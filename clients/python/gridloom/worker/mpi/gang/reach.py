"""Waits until a host is there: its pod, its name and its agent come one after the other."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

_TRY_S = 1.0
_PAUSE_S = 0.1


class UnreachableError(Exception):
    """It did not come in time, and what stood in the way at last."""


def address_of(name: str, port: int, until: float, given_up: threading.Event) -> str:
    """The address at which something listens, once it does. `until` is on the monotonic clock."""
    while True:
        try:
            return _reached(name, port)
        except OSError as error:
            if time.monotonic() >= until or given_up.wait(_PAUSE_S):
                raise UnreachableError(_words(error)) from error


def _reached(name: str, port: int) -> str:
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    first = OSError("it has no address")
    for family, kind, protocol, _, place in found:
        with contextlib.closing(socket.socket(family, kind, protocol)) as attempt:
            attempt.settimeout(_TRY_S)
            try:
                attempt.connect(place)
            except OSError as error:
                first = error
            else:
                return str(place[0])
    raise first


def _words(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return error.strerror or str(error)
