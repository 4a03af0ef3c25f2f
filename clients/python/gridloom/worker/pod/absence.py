"""Says when the platform is gone for good: nobody knows its name any more.

One that restarts keeps its name, which is a Service's, and a name server in trouble says nothing
about names. So a platform is gone only where it was uninstalled.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# For so long the name must have been unknown.
_CERTAIN_S = 5.0
_RESOLVER = Path("/etc/resolv.conf")


class Absence:
    """Whether `host` is a name that was, from now on. `ask` raises socket.gaierror."""

    def __init__(
        self,
        host: str,
        domains: Iterable[str] = (),
        ask: Callable[[str], object] = lambda name: socket.getaddrinfo(name, None),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # A name that no domain completes may be asked of a server that nobody can reach.
        self._names = (host, *(f"{host}.{domain}." for domain in domains))
        self._ask = ask
        self._clock = clock
        self._since: float | None = None

    def is_certain(self) -> bool:
        """Ask again; True once the name has been unknown for a while without a break."""
        if not self._is_unknown():
            self._since = None
            return False
        now = self._clock()
        self._since = now if self._since is None else self._since
        return now - self._since >= _CERTAIN_S

    def _is_unknown(self) -> bool:
        """Whether some answer says that there is no such name, and none says that there is."""
        codes = []
        for name in self._names:
            try:
                self._ask(name)
            except socket.gaierror as error:
                codes.append(error.errno)
            else:
                return False
        return socket.EAI_NONAME in codes


def search_domains(text: str | None = None) -> list[str]:
    """The domains that complete names here, as the resolver's file has them."""
    if text is None:
        text = _RESOLVER.read_text(encoding="utf-8") if _RESOLVER.exists() else ""
    lines = [line.split() for line in text.splitlines()]
    found = [words[1:] for words in lines if words[:1] == ["search"]]
    return found[-1] if found else []
