"""What a process worker has besides its tools: one slot, its signals, its streams."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gridloom.worker.attention import KNOCK, Attention
from gridloom.worker.frames import LinkLostError
from gridloom.worker.output import Capture, flush_python_streams
from gridloom.worker.surroundings import Surroundings
from gridloom.worker.tools import ForkWatch, Tools

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.worker.seat import Seat


class Bench(Tools):
    """The tools of a worker that runs one call at a time in its main thread."""

    def __init__(self, seat: Seat, attend: Callable[[], None]) -> None:
        super().__init__(seat)
        self.header = seat.board.header
        self.slot = seat.board.slots[0]
        self.attention = Attention(seat.board, attend)
        self.capture = Capture(seat.captures, self.header) if seat.captures else None
        self.surroundings: Surroundings | None = None
        # Found in the middle of a call, which must not learn of it.
        self.link_lost = False
        self.fork_watch = ForkWatch()
        self.fork_watch.leave_in_child(self.attention.switch_off)
        self.fork_watch.leave_in_child(seat.board.detach)

    def settle_in(self) -> None:
        """Take signals, run the initialiser, and take what it leaves as the way things are."""
        self.attention.install()
        self.initialise()
        self.surroundings = Surroundings(KNOCK)

    def between_units(self) -> None:
        """Undo what a call has changed; a child that a call has forked goes no further.

        Raises `LinkLostError` where nobody would hear of what comes next.
        """
        self.end_forked_child()
        if self.surroundings is not None:
            self.surroundings.restore()
        if self.link_lost:
            raise LinkLostError("the service went away during a call")

    def end_forked_child(self) -> None:
        """A child that a call has forked, and that has come back from it, ends here."""
        if self.fork_watch.is_child:
            flush_python_streams()
            os._exit(0)

    def after_batch(self) -> None:
        """Leave nothing in a buffer, and no alarm running, for as long as there is no work."""
        if self.surroundings is not None:
            self.surroundings.stop_timers()
        if sys.stdout is not None:
            sys.stdout.flush()
