from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from gridloom_services.scheduler.runtime.kubernetes.api import ApiError, Event, ExpiredError
from gridloom_services.scheduler.runtime.kubernetes.informer import Informer

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


def thing(name: str, version: int) -> dict:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


class Server:
    """An API server's lists and watches: pages of what is there, and streams that were scripted."""

    def __init__(self, *things: dict) -> None:
        self.things = list(things)
        self.version = 10
        self.streams: list[list[Event | Exception]] = []
        self.watched_from: list[str] = []
        self.lists = 0

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict:
        query = query or {}
        begin = int(query.get("continue", 0))
        self.lists += begin == 0
        page = self.things[begin : begin + 2]
        metadata = {"resourceVersion": str(self.version)}
        if begin + 2 < len(self.things):
            metadata["continue"] = str(begin + 2)
        return {"items": page, "metadata": metadata}

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Event]:
        self.watched_from.append(query["resourceVersion"])
        if not self.streams:
            await asyncio.Event().wait()
        for event in self.streams.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


class Told:
    def __init__(self) -> None:
        self.changed: list[tuple[str, str]] = []
        self.gone: list[str] = []

    def informer(self, server: Server) -> Informer:
        return Informer(
            server,
            "/things",
            {},
            lambda each: self.changed.append(
                (each["metadata"]["name"], each["metadata"]["resourceVersion"])
            ),
            lambda each: self.gone.append(each["metadata"]["name"]),
            lambda each: each,
        )


async def follow(server: Server, told: Told) -> None:
    """List, then read every stream that was scripted."""
    informer = told.informer(server)
    await informer.list()
    task = asyncio.create_task(informer.run())
    streams = len(server.streams)
    await eventually(lambda: len(server.watched_from) > streams)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_every_page_of_a_list_is_taken():
    told = Told()
    await told.informer(Server(*(thing(f"t{i}", i) for i in range(5)))).list()
    assert [name for name, _ in told.changed] == ["t0", "t1", "t2", "t3", "t4"]


async def test_a_watch_goes_on_from_the_last_change_or_bookmark():
    server, told = Server(thing("a", 1)), Told()
    server.streams = [
        [Event("MODIFIED", thing("a", 11)), Event("BOOKMARK", thing("", 15))],
        [Event("ADDED", thing("b", 16))],
    ]
    await follow(server, told)
    assert server.watched_from == ["10", "15", "16"]
    assert told.changed == [("a", "1"), ("a", "11"), ("b", "16")]
    assert server.lists == 1


async def test_what_went_while_a_watch_had_expired_is_told_as_gone():
    server, told = Server(thing("a", 1), thing("b", 2)), Told()
    server.streams = [[Event("MODIFIED", thing("a", 11)), ExpiredError("too old")]]
    informer = told.informer(server)
    await informer.list()
    server.things, server.version = [thing("b", 2), thing("c", 20)], 21
    task = asyncio.create_task(informer.run())
    await eventually(lambda: server.watched_from == ["10", "21"])
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert told.gone == ["a"]
    assert told.changed == [("a", "1"), ("b", "2"), ("a", "11"), ("c", "20")]


async def test_a_server_that_is_away_is_asked_again_from_the_same_place():
    server, told = Server(thing("a", 1)), Told()
    server.streams = [[ApiError(0, "", "away")], [Event("DELETED", thing("a", 12))]]
    await follow(server, told)
    assert server.watched_from == ["10", "10", "12"]
    assert told.gone == ["a"]
