"""What a forked child must know: that it is one, and has none of its parent's threads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class _Forks:
    """How many forks lie between the first process and this one, and what to do after the next."""

    def __init__(self) -> None:
        self.count = 0
        self.hooks: list[Callable[[], None]] = []

    def in_child(self) -> None:
        self.count += 1
        for hook in self.hooks:
            hook()


_forks = _Forks()
os.register_at_fork(after_in_child=_forks.in_child)


def epoch() -> int:
    """A number that differs between a process and its forked children."""
    return _forks.count


def after_in_child(hook: Callable[[], None]) -> None:
    """Run `hook` in every forked child before anything else runs there; it must not wait."""
    _forks.hooks.append(hook)
