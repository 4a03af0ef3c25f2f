"""A TCP relay between a client and a platform, which can be cut. The platform may come and go, at
another port each time."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE_BYTES = 65_536


class Relay:
    """Listens on a loopback port from entering to the end."""

    def __init__(self, target: Callable[[], tuple[str, int] | None]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> int:
        """Break every connection, as a cable does that is torn out; how many pairs there were."""
        with self._lock:
            torn, self._open = self._open, set()
        for each in torn:
            _tear(each)
        return len(torn) // 2

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._join(self._listener.accept()[0])

    def _join(self, client: socket.socket) -> None:
        try:
            place = self._target()
            platform = socket.create_connection(place, timeout=5) if place else None
        except OSError:
            platform = None
        if platform is None:
            client.close()
            return
        platform.settimeout(None)
        with self._lock:
            self._open |= {client, platform}
        for one, other in ((client, platform), (platform, client)):
            threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(_PIECE_BYTES):
                other.sendall(piece)
        for each in (one, other):
            with self._lock:
                self._open.discard(each)
            _tear(each)


def _tear(each: socket.socket) -> None:
    # Closed alone, it would stay open as long as another thread reads from it.
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
