"""Ctrl-C while something is waited for: the work goes on; a second one cancels it."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECOND_CHANCE_S = 2.0


@contextmanager
def as_interrupt() -> Iterator[None]:
    """An interrupt that comes while a lock is let go of, or taken, is raised as itself.

    It may come between any two instructions, and within a `threading.Condition` what is seen of it
    is the RuntimeError that the lock was not held.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from error


@contextmanager
def leaving_it_running(
    what: str, come_back: str, cancel: Callable[[], object], *, window_s: float = SECOND_CHANCE_S
) -> Iterator[None]:
    """Around a wait: an interrupt says that `what` goes on and how to come back, then goes up.

    For a moment longer a second one is waited for, which calls `cancel`. Where nobody can press a
    second time (no terminal), the first goes up at once.
    """
    try:
        with as_interrupt():
            yield
    except KeyboardInterrupt:
        is_watched = sys.stdin.isatty() and sys.stderr.isatty()
        say(f"\n{what} goes on. Come back with: {come_back}")
        if is_watched:
            _await_second(what, cancel, window_s)
        raise


def _await_second(what: str, cancel: Callable[[], object], window_s: float) -> None:
    try:
        say(f"Press Ctrl-C again within {window_s:g} s to cancel it.")
        time.sleep(window_s)
    except KeyboardInterrupt:
        cancel()
        say(f"{what} is cancelled.")


def say(text: str) -> None:
    """A line for the person at the keyboard."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # the person at the keyboard is meant
