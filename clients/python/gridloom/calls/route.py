"""The way of a function's calls: which session, under which specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.calls.client import Calls
    from gridloom.calls.output import Printed
    from gridloom.calls.session import Session
    from gridloom.calls.tracker import Tracker


@dataclass(frozen=True, slots=True)
class Route:
    """All that sending a call of one function with its options needs."""

    calls: Calls
    session: Session
    spec: int
    label: str
    digest: bytes
    # How many items are expected to run at once.
    workers: int
    # How often the session had been refused something when the specification was said.
    refusals: int = 0
    listener: Callable[[Printed], None] | None = None
    # Whether large arguments have to be on disk.
    durable: bool = True
    # Of the pool handle that the calls go through.
    tracker: Tracker | None = None

    @property
    def is_current(self) -> bool:
        """New calls may go this way. Not after a refusal: said anew, a call may be accepted."""
        session = self.session
        return session.usable and session.refusals == self.refusals

    @property
    def is_plain(self) -> bool:
        """Nobody listens to what its calls print."""
        return self.listener is None

    @property
    def item_s(self) -> float | None:
        """What an item of the function took in earlier maps."""
        return self.session.item_times.get(self.digest)

    def remember(self, item_s: float) -> None:
        """Tell later maps how long an item takes."""
        self.session.item_times[self.digest] = item_s
