"""One kind of objects as they are now: listed once, then watched.

A watch goes on from where it was, whatever ends it: the server's time limit, a restart, a network
that is silent. Where the server does not know that place any more, everything is listed anew, and
what is not there any more is told as gone: no end is lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Protocol

from gridloom_services.scheduler.runtime.kubernetes.api import ApiError, Event, ExpiredError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from gridloom_services.scheduler.runtime.kubernetes.api import Object

_log = logging.getLogger(__name__)

_PAGE = "500"
_LEAST_WATCH_S = 240
_MOST_WATCH_S = 480
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0


class Lists(Protocol):
    """What an informer asks."""

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        """Return a list."""

    def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Event]:
        """Yield changes."""


class Informer:
    """Keeps `objects`, by their uid, and calls `changed` and `gone` with each that differs.

    Of every object only what `keep` returns stays in memory; `metadata` must have `uid` and
    `resourceVersion`.
    """

    def __init__(
        self,
        api: Lists,
        path: str,
        selectors: Mapping[str, str],
        changed: Callable[[Object], None],
        gone: Callable[[Object], None],
        keep: Callable[[Object], Object],
    ) -> None:
        self._api = api
        self._path = path
        self._selectors = dict(selectors)
        self._changed = changed
        self._gone = gone
        self._keep = keep
        self._version = ""
        self.objects: dict[str, Object] = {}

    async def list(self) -> None:
        """Take over what there is. ApiError."""
        found: dict[str, Object] = {}
        query = {**self._selectors, "limit": _PAGE}
        while True:
            page = await self._api.get(self._path, query)
            found |= {item["metadata"]["uid"]: self._keep(item) for item in page["items"]}
            metadata = page["metadata"]
            if not metadata.get("continue"):
                break
            query["continue"] = metadata["continue"]
        self._version = metadata["resourceVersion"]
        for uid in self.objects.keys() - found.keys():
            self._gone(self.objects.pop(uid))
        for uid, item in found.items():
            self._take(uid, item)

    async def run(self) -> None:
        """Follow the changes, for ever. `list` comes first."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._follow()
                pause_s = _FIRST_PAUSE_S
            except ExpiredError:
                _log.info("listing anew", extra={"path": self._path})
                self._version = ""
            except ApiError as error:
                _log.warning("cannot be watched: %s", error, extra={"path": self._path})
                await asyncio.sleep(pause_s * (0.5 + random.random()))  # noqa: S311 - no secret
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _follow(self) -> None:
        if not self._version:
            await self.list()
        duration_s = random.randint(_LEAST_WATCH_S, _MOST_WATCH_S)  # noqa: S311 - no secret
        query = {
            **self._selectors,
            "resourceVersion": self._version,
            "timeoutSeconds": str(duration_s),
        }
        async for event in self._api.watch(self._path, query):
            self._apply(event)

    def _apply(self, event: Event) -> None:
        item = event.object
        if event.kind == "DELETED":
            self.objects.pop(item["metadata"]["uid"], None)
            self._gone(self._keep(item))
        elif event.kind != "BOOKMARK":
            self._take(item["metadata"]["uid"], self._keep(item))
        self._version = item["metadata"]["resourceVersion"]

    def _take(self, uid: str, item: Object) -> None:
        before = self.objects.get(uid)
        self.objects[uid] = item
        if before is None or _version(before) != _version(item):
            self._changed(item)


def _version(item: Object) -> str:
    version: str = item["metadata"]["resourceVersion"]
    return version
