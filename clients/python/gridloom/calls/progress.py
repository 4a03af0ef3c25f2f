"""The progress bar of a map or a wait: on a terminal and in a notebook, none in a pipe."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

# What is over before this shows no bar.
DELAY_S = 0.5


class Progress(Protocol):
    """Told how far it has come."""

    def update(self, done: int, failed: int, total: int | None) -> None:
        """So many items are over, so many of them badly."""

    def close(self) -> None:
        """It is over, or nobody looks any more."""


class NoProgress:
    """Shows nothing."""

    def update(self, done: int, failed: int, total: int | None) -> None:
        """Nothing is shown."""

    def close(self) -> None:
        """Nothing was."""


class RichProgress:
    """A bar by rich; appears when the work has taken a moment."""

    def __init__(
        self,
        what: str,
        *,
        delay_s: float = DELAY_S,
        clock: Callable[[], float] = time.monotonic,
        console: Any = None,
    ) -> None:
        self._what = what
        self._clock = clock
        self._shows_at = clock() + delay_s
        self._console = console
        self._bar: Any = None
        self._task: Any = None

    def update(self, done: int, failed: int, total: int | None) -> None:
        """Show the numbers; the bar draws itself some times a second."""
        if self._bar is None:
            if self._clock() < self._shows_at or (total is not None and done >= total):
                return
            self._bar = _new_bar(self._console)
            self._task = self._bar.add_task(self._what, total=total, failed="")
            self._bar.start()
        said = f"[red]{failed} failed" if failed else ""
        self._bar.update(self._task, completed=done, total=total, failed=said)

    def close(self) -> None:
        """Leave the bar as it is now."""
        if self._bar is not None:
            self._bar.stop()


def progress_for(what: str, asked: bool | None) -> Progress:  # noqa: FBT001  # the user's word
    """The progress to tell: `asked` forces a bar or none, None shows one where somebody looks."""
    if asked is None:
        asked = is_watched()
        return RichProgress(what) if asked else NoProgress()
    return RichProgress(what, delay_s=0) if asked else NoProgress()


def is_watched() -> bool:
    """Whether a person sees what this process writes now: a terminal or a notebook."""
    return in_notebook() or sys.stderr.isatty()


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this code."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    shell = ipython.get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _new_bar(console: Any) -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
        console=console or Console(stderr=not in_notebook()),
    )
