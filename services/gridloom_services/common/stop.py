"""The two-stage stop: first in good order, then at once."""

from __future__ import annotations

import asyncio
import logging
import signal

from gridloom_services.common.errors import BrokenError

_log = logging.getLogger(__name__)


class Stop:
    """Whether, and how urgently, this process is to end.

    Stage one, `request` (the first SIGTERM or SIGINT): no new work, streams are brought to an end.
    Stage two, `force` (a second signal, or the grace is over): now.
    """

    def __init__(self) -> None:
        self._requested = asyncio.Event()
        self._forced = asyncio.Event()
        self.reason = ""
        self.failure = ""

    def fail(self, reason: str) -> None:
        """Begin stage two, since a part cannot go on: the process ends with an error."""
        self.failure = self.failure or reason
        self.force(reason)

    def check(self) -> None:
        """BrokenError where the stop was a failure."""
        if self.failure:
            raise BrokenError(self.failure)

    @property
    def is_requested(self) -> bool:
        """Stage one has begun."""
        return self._requested.is_set()

    @property
    def is_forced(self) -> bool:
        """Stage two has begun."""
        return self._forced.is_set()

    def request(self, reason: str) -> None:
        """Begin stage one. The first reason stays."""
        if not self.is_requested:
            self.reason = reason
            _log.info("stopping", extra={"reason": reason})
            self._requested.set()

    def force(self, reason: str) -> None:
        """Begin stage two."""
        self.request(reason)
        if not self.is_forced:
            _log.warning("stopping at once", extra={"reason": reason})
            self._forced.set()

    async def requested(self) -> None:
        """Return when stage one begins."""
        await self._requested.wait()

    async def forced(self) -> None:
        """Return when stage two begins."""
        await self._forced.wait()

    def on_signals(self) -> None:
        """SIGTERM and SIGINT: the first requests, the next forces."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        if self.is_requested:
            self.force(f"second signal: {number.name}")
        else:
            self.request(number.name)
