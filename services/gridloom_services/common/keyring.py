"""Whose API keys those are that callers show."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gridloom_services.common.errors import UnauthenticatedError
from gridloom_services.common.keys import SHAPE_WORDS, KeyHasher, KeyProof, read_key
from gridloom_services.common.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.common.ring import Source, Times


class KeyRing(Ring[KeyProof]):
    """Answers for keys."""

    def __init__(
        self,
        hasher: KeyHasher,
        source: Source[KeyProof],
        times: Times | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("API key", source, times, clock=clock, wall=wall)
        self.hasher = hasher

    def proof(self, token: str) -> KeyProof:
        """What to ask with. UnauthenticatedError for a text that cannot be a key."""
        key = read_key(token)
        if key is None:
            raise UnauthenticatedError(f"the API key is not whole; keys are {SHAPE_WORDS}")
        return self.hasher.proof(key)
