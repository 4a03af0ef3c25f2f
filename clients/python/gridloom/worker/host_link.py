"""The host's way to the service: never waited for, and opened again when it is lost."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from gridloom.worker.frames import LinkLostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.worker.frames import ServiceFrame, SocketLink, WorkerFrame
    from gridloom.worker.supervision.wakeup import Wakeup

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
# A link that was open for less was refused: whoever is there does not know us.
_STEADY_S = 2.0
# A service that does not read for so long is as good as gone.
_SEND_PATIENCE_S = 5


class HostLink:
    """A link that comes back. Frames sent while it is down are lost, as they are at its end."""

    def __init__(
        self,
        open_link: Callable[[], SocketLink],
        hello: Callable[[], WorkerFrame],
        wakeup: Wakeup,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_link = open_link
        self._hello = hello
        self._wakeup = wakeup
        self._clock = clock
        self._link: SocketLink | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._opened_at = 0.0
        self._lost_since = clock()
        self.next_try: float = clock()

    @property
    def is_open(self) -> bool:
        """Whether frames reach somebody."""
        return self._link is not None

    def tend(self) -> bool:
        """Open the link if it is down and the time has come; whether it was opened now."""
        if self._link is not None or self._clock() < self.next_try:
            return False
        try:
            self._link = self._open_link()
            self._link.set_send_timeout(_SEND_PATIENCE_S)
            self._link.send(self._hello())
        except OSError:
            self.lose()
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            return False
        self._wakeup.add(self._link.fileno())
        self._opened_at = self._clock()
        return True

    def send(self, frame: WorkerFrame) -> None:
        """Hand a frame over, or drop it where there is nobody."""
        if self._link is None:
            return
        try:
            self._link.send(frame)
        except LinkLostError:
            self.lose()

    def arrived(self) -> list[ServiceFrame]:
        """What has come."""
        if self._link is None:
            return []
        try:
            frames = self._link.arrived()
        except LinkLostError:
            self.lose()
            return []
        return frames

    def lose(self) -> None:
        """Let go of the link; it is tried again after a pause."""
        now = self._clock()
        if self._link is not None:
            with contextlib.suppress(KeyError, ValueError):  # it was never added
                self._wakeup.remove(self._link.fileno())
            self._link.close()
            self._link = None
            if now - self._opened_at > _STEADY_S:
                self._lost_since, self._pause_s = now, _FIRST_PAUSE_S
        self.next_try = now + self._pause_s

    def release(self) -> None:
        """In a forked worker: close the copy of the socket, and nothing else."""
        if self._link is not None:
            self._link.close()
            self._link = None

    @property
    def silence_s(self) -> float:
        """For how long nobody has been there; 0 while somebody is."""
        return 0.0 if self._link is not None else self._clock() - self._lost_since
