"""Signals that reach into a call: the service has written, the host knocks, time is up.

A worker has one thread, and while user code runs it runs that and nothing else. Two signals get
between: SIGIO when something arrives at the link, and one that the host sends. Their handler acts
only inside user code; everywhere else the worker looks by itself.
"""

from __future__ import annotations

import _thread
import contextlib
import fcntl
import os
import signal
import struct
import threading
import time
from typing import TYPE_CHECKING

from gridloom.worker.failures import CallInterrupt, CallTimeoutError
from gridloom.worker.progress import (
    BATCH,
    DEADLINE,
    INTERRUPT,
    INTERRUPT_BATCH,
    PLACE,
    RETIRE,
    now_ns,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from gridloom.worker.progress import Board

# Nobody else's by custom; a user's handler for it is removed after the call.
KNOCK = signal.SIGRTMIN + 9


# The machinery of `import`, and how long until one that was in the way is looked at again.
_IMPORTS = "<frozen importlib._bootstrap>"
_AGAIN_S = 0.01

# Linux's, which `fcntl` does not name.
_F_SETOWN_EX = 15
_F_OWNER_TID = 0


class RetiredError(Exception):
    """The host has said that the worker should go."""


class Attention:
    """Interrupts user code for what cannot wait.

    `in_user_code` is set around it by the worker, as the first and last thing within the `try`
    that catches what the code raises: only there may the handler raise.
    """

    def __init__(self, board: Board, attend: Callable[[], None]) -> None:
        self._header = board.header
        self._slot = board.slots[0]
        self._attend = attend
        self._attending = False
        self.in_user_code = False
        self._inside_before_fork = False
        self._comes_again = False
        # It waits for work: then the host's word that it should go ends the waiting.
        self.is_idle = False
        self.wanted = False
        # The places of this batch that were interrupted, as in PLACE, the last one last; and
        # whether that was for a time-out.
        self.interrupted: dict[int, bool] = {}
        # The place of the item that has no value yet; those before it are over.
        self.unfinished_place: Callable[[], int] = _no_place

    def install(self) -> None:
        """Take the two signals. They interrupt system calls, which Python then begins again."""
        os.register_at_fork(before=self.before_fork, after_in_parent=self.after_fork)
        for number in (signal.SIGIO, KNOCK):
            signal.signal(number, self._on_signal)

    def begin_batch(self) -> None:
        """Places of an earlier batch mean nothing any more."""
        self.interrupted.clear()
        self.unfinished_place = _no_place
        self._slot[INTERRUPT] = 0

    def switch_off(self) -> None:
        """In a forked child: nothing that comes is for it."""
        self._attending = True

    def look(self) -> None:
        """Attend to what has come; raises into the current call where that must end."""
        if self._attending:
            return
        self._attending, inside, self.in_user_code = True, self.in_user_code, False
        try:
            while self.wanted:
                self.wanted = False
                self._attend()
        finally:
            self._attending, self.in_user_code = False, inside
        if self.wanted and inside:  # it came while the door was closed
            self.look()
        self._raise_if_over()

    @contextlib.contextmanager
    def held_off(self) -> Iterator[None]:
        """Within user code: let nothing in for a while, then see what has come."""
        inside, self.in_user_code = self.in_user_code, False
        try:
            yield
        finally:
            self.in_user_code = inside
        if inside and self.wanted:
            self.look()

    def before_fork(self) -> None:
        """What is raised while Python forks is lost, and may leave a lock behind."""
        self._inside_before_fork, self.in_user_code = self.in_user_code, False

    def after_fork(self) -> None:
        """In the parent: what has come meanwhile comes again, when the forking is over."""
        self.in_user_code = self._inside_before_fork
        if self.in_user_code and self.wanted:
            signal.raise_signal(KNOCK)

    def interrupt_here(self) -> None:
        """Have the present call raise when its code goes on."""
        self._slot[INTERRUPT_BATCH] = self._slot[BATCH]
        self._slot[INTERRUPT] = self._slot[PLACE]

    def _on_signal(self, _number: int, frame: FrameType | None) -> None:
        self.wanted = True
        if self.in_user_code and _is_importing(frame):
            self._come_again()
        elif self.in_user_code:
            self.look()
        elif self.is_idle and self._header[RETIRE]:
            raise RetiredError

    def _come_again(self) -> None:
        """An import that is cut off leaves halves of modules behind, for all calls to come."""
        if not self._comes_again:
            self._comes_again = True
            # Not a `Thread`: what was interrupted may hold the lock that starting one takes.
            _thread.start_new_thread(self._knock_later, (threading.get_ident(),))

    def _knock_later(self, thread: int) -> None:
        time.sleep(_AGAIN_S)
        self._comes_again = False
        signal.pthread_kill(thread, KNOCK)

    def _raise_if_over(self) -> None:
        """Each place is interrupted once: what goes on after that is the host's to end."""
        place = self._slot[PLACE]
        if not place or place in self.interrupted or place < self.unfinished_place():
            return
        if self._slot[INTERRUPT] == place and self._slot[INTERRUPT_BATCH] == self._slot[BATCH]:
            self.interrupted[place] = False
            raise CallInterrupt("the call was cancelled")
        deadline = self._slot[DEADLINE]
        if deadline and now_ns() >= deadline:
            self.interrupted[place] = True
            raise CallTimeoutError("the call has run longer than its time-out")


def _no_place() -> int:
    return 0


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False


class ArrivalSignal:
    """SIGIO to this thread when something arrives at a socket, while it is switched on.

    To the process would not do: where user code or a library has threads, it may go to one of
    them, and this one sleeps on.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        owner = struct.pack("ii", _F_OWNER_TID, threading.get_native_id())
        fcntl.fcntl(descriptor, _F_SETOWN_EX, owner)
        self._off = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_ASYNC
        self._on = self._off | os.O_ASYNC

    def switch(self, *, on: bool) -> None:
        """Say whether it is wanted."""
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, self._on if on else self._off)
