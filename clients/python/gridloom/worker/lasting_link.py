"""A way to the service that is never waited for, and is opened again when it is lost."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol

from gridloom.worker.frames import LinkLostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.worker.frames import ServiceFrame, SocketLink, WorkerFrame

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
# A link that was open for less was refused: whoever is there does not know us.
_STEADY_S = 2.0
# A service that does not read for so long is as good as gone.
_SEND_PATIENCE_S = 5


class Watcher(Protocol):
    """Wakes its owner when a descriptor can be read."""

    def add(self, descriptor: int) -> None:
        """From now on."""
        ...

    def remove(self, descriptor: int) -> None:
        """No more."""
        ...


class LastingLink:
    """A link that comes back. Frames sent while it is down are dropped.

    `on_lost` is called when a link that was open is no more.
    """

    def __init__(
        self,
        open_link: Callable[[], SocketLink],
        hello: Callable[[], WorkerFrame],
        watcher: Watcher,
        on_lost: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_link = open_link
        self._hello = hello
        self._watcher = watcher
        self._on_lost = on_lost
        self._clock = clock
        self._link: SocketLink | None = None
        self._watched = -1
        self._pause_s = _FIRST_PAUSE_S
        self._opened_at = 0.0
        self._lost_since = clock()
        self.next_try = clock()

    @property
    def is_open(self) -> bool:
        """Whether frames reach somebody."""
        return self._link is not None

    @property
    def silence_s(self) -> float:
        """For how long nobody has been there; 0 while somebody is."""
        return 0.0 if self._link is not None else self._clock() - self._lost_since

    def tend(self) -> bool:
        """Open the link if it is down and the time has come; whether it was opened now."""
        if self._link is not None or self._clock() < self.next_try:
            return False
        try:
            self._link = self._open_link()
            self._link.set_send_timeout(_SEND_PATIENCE_S)
            self._link.send(self._hello())
        except OSError:
            self._lose()
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            return False
        self._watched = self._link.fileno()
        self._watcher.add(self._watched)
        self._opened_at = self._clock()
        return True

    def send(self, frame: WorkerFrame) -> None:
        """Hand a frame over, or drop it where there is nobody."""
        if self._link is None:
            return
        try:
            self._link.send(frame)
        except LinkLostError:
            self._lose()

    def arrived(self) -> list[ServiceFrame]:
        """What has come."""
        if self._link is None:
            return []
        try:
            return self._link.arrived()
        except LinkLostError:
            self._lose()
            return []

    def release(self) -> None:
        """In a forked process: close the copy of the socket, and nothing else."""
        link, self._link, self._watched = self._link, None, -1
        if link is not None:
            link.close()

    def _lose(self) -> None:
        """Let go of the link; it is tried again after a pause."""
        now = self._clock()
        link, self._link = self._link, None
        if self._watched >= 0:
            with contextlib.suppress(KeyError, ValueError):
                self._watcher.remove(self._watched)
            self._watched = -1
            if now - self._opened_at > _STEADY_S:
                self._lost_since, self._pause_s = now, _FIRST_PAUSE_S
            self._on_lost()
        if link is not None:
            link.close()
        self.next_try = now + self._pause_s
