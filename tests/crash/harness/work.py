"""The work of a seed, in lots of several kinds. Each lot is begun, and later read by its ids,
perhaps by another client; and each says itself what its results have to be."""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import gridloom
import numpy as np
from gridloom.errors import NotFoundError, PayloadLostError, StorageFullError
from gridloom.jobs.states import JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S = 90.0
CALLS = 60
ITEMS = 150
LINKS = 8
ELEMENTS = 5
TIMED = 20
# A call of these may take so long; one that stands still for longer runs again.
TIMED_S = 0.5
PAIRS = 8
ARRAY_BYTES = 400_000
UPLOAD_BYTES = 600_000
# Whose results are [value, token].
CALL_KINDS = ("calls", "map", "links", "timed", "arrays")
# Whose payloads are not durable.
FORGETFUL_KINDS = ("arrays",)
# What is told of a call for which there was no room.
REFUSED = ["refused"]
# What is told of a payload that was not durable when its memory was lost.
LOST = ["lost"]
RETRIES = gridloom.Retries(node_lost=50)
_TOKEN_BYTES = 6


def once(number: int) -> tuple[int, str]:
    """The square, and what no other execution returns: two results of a call cannot hide."""
    import os
    import time

    time.sleep(0.002)
    return number * number, os.urandom(6).hex()


def next_link(before: tuple[int, str]) -> tuple[int, str]:
    """One more than the link before: its value travels from worker to worker."""
    import os

    return before[0] + 1, os.urandom(6).hex()


def raised(array: np.ndarray) -> np.ndarray:
    """One more everywhere; a token takes the place of the first bytes."""
    import os
    import time

    time.sleep(0.02)
    array += 1
    array[:_TOKEN_BYTES] = np.frombuffer(os.urandom(_TOKEN_BYTES), np.uint8)
    return array


# Takes the place and the value of a result.
Tell: TypeAlias = "Callable[[str, Any], None]"


class Lot(Protocol):
    """A piece of work whose outcome is known beforehand."""

    def begin(self, client: gridloom.Client, name: str, tell: Tell) -> list[str]:
        """Hand it over; returns its ids when the platform has accepted all of it.

        `name` is the same whenever this lot is begun: of jobs there is then still only one. The
        results of single calls are told as they come.
        """
        ...

    def results(self, client: gridloom.Client, ids: list[str]) -> Iterator[tuple[str, Any]]:
        """Wait for the end, and read everything: (place, value), each place once."""
        ...

    def expected(self, ids: list[str]) -> dict[str, Any]:
        """What is to be seen at each place; of [value, token] only the value."""
        ...


class Calls:
    """Single calls, submitted in a loop."""

    def begin(self, client: gridloom.Client, name: str, tell: Tell) -> list[str]:
        function = gridloom.function(retries=RETRIES)(once)
        return _followed([client.submit(function, number) for number in range(CALLS)], tell)

    def results(self, client: gridloom.Client, ids: list[str]) -> Iterator[tuple[str, Any]]:
        return _read_singly(client, ids)

    def expected(self, ids: list[str]) -> dict[str, Any]:
        return {each: number * number for number, each in enumerate(ids)}


class Map:
    """A map, read by its id."""

    def begin(self, client: gridloom.Client, name: str, tell: Tell) -> list[str]:
        function = gridloom.function(retries=RETRIES)(once)
        group = client.map(function, range(ITEMS), progress=False).group
        while not group.info.sealed:
            time.sleep(0.01)
        return [group.id]

    def results(self, client: gridloom.Client, ids: list[str]) -> Iterator[tuple[str, Any]]:
        results = client.get(ids[0]).results(timeout=PATIENCE_S, return_exceptions=True)
        for number, value in enumerate(results):
            yield str(number), _plain(value)

    def expected(self, ids: list[str]) -> dict[str, Any]:
        return {str(number): number * number for number in range(ITEMS)}


class Links:
    """Calls of which each waits for the one before."""

    def begin(self, client: gridloom.Client, name: str, tell: Tell) -> list[str]:
        first = gridloom.function(retries=RETRIES)(once)
        link = gridloom.function(retries=RETRIES)(next_link)
        futures = [client.submit(first, 3)]
        for _ in range(LINKS):
            futures.append(client.submit(link, futures[-1]))
        return _followed(futures, tell)

    def results(self, client: gridloom.Client, ids: list[str]) -> Iterator[tuple[str, Any]]:
        return _read_singly(client, ids)

    def expected(self, ids: list[str]) -> dict[str, Any]:
        return {each: 9 + number for number, each in enumerate(ids)}


class Timed(Calls):
    """Single calls that may not take long."""

    def begin(self, client: gridloom.Client, name: str, tell: Tell) -> list[str]:
        retries = gridloom.Retries(node_lost=50, time_limit=50)
        function = gridloom.function(retries=retries, timeout=TIMED_S)(once)
        return _followed([client.submit(function, number) for number in range(TIMED)], tell)


class Arrays:
    """Calls with arrays in shared memory, in pairs: what the first gives goes to the second."""

    def begin(self, client: gridloom.Client, name: str, tell: Tell) -> list[str]:
        function, futures = gridloom.function(retries=RETRIES, durable=False)(raised), []
        for number in range(PAIRS):
            futures.append(client.submit(function, np.full(ARRAY_BYTES, number, np.uint8)))
            futures.append(client.submit(function, futures[-1]))
        return _followed(futures, tell)

    def results(self, client: gridloom.Client, ids: list[str]) -> Iterator[tuple[str, Any]]:
        return _read_singly(client, ids)

    def expected(self, ids: list[str]) -> dict[str, Any]:
        return {each: place // 2 + 1 + place % 2 for place, each in enumerate(ids)}


class Array:
    """An array with a cap, and a job that waits for all of it."""

    program = "echo begin {index}; sleep 0.1; echo end {index}"

    def begin(self, client: gridloom.Client, name: str, tell: Tell) -> list[str]:
        array = client.run(
            self.program,
            shell=True,
            array=range(ELEMENTS),
            max_parallel=3,
            request_id=f"{name}-array",
            **_modest(),
        )
        after = client.run(
            "echo after", shell=True, after=[array], request_id=f"{name}-after", **_modest()
        )
        return [array.id, after.id]

    def results(self, client: gridloom.Client, ids: list[str]) -> Iterator[tuple[str, Any]]:
        array, after = (client.get(each) for each in ids)
        after.wait(PATIENCE_S)
        for number, element in enumerate(array.elements()):
            yield str(number), [_end_of(element), list(element.logs())]
        yield "after", [_end_of(after), list(after.logs())]

    def expected(self, ids: list[str]) -> dict[str, Any]:
        logs = {str(n): ["SUCCEEDED 0", [f"begin {n}", f"end {n}"]] for n in range(ELEMENTS)}
        return {**logs, "after": ["SUCCEEDED 0", ["after"]]}


class Gang:
    """Two roles, three processes, which start and end as one."""

    def begin(self, client: gridloom.Client, name: str, tell: Tell) -> list[str]:
        program = "echo $GRIDLOOM_ROLE $GRIDLOOM_REPLICA_INDEX; sleep 0.3; echo over"
        roles = [
            gridloom.Role(name="one", command=program, shell=True, cpus=0.1, memory="32MiB"),
            gridloom.Role(
                name="two", command=program, shell=True, cpus=0.1, memory="32MiB", replicas=2
            ),
        ]
        job = client.run(roles=roles, retries=RETRIES, request_id=f"{name}-gang")
        return [job.id]

    def results(self, client: gridloom.Client, ids: list[str]) -> Iterator[tuple[str, Any]]:
        job = client.get(ids[0])
        job.wait(PATIENCE_S)
        yield "end", _end_of(job).split()[0]
        for role, index in (("one", 0), ("two", 0), ("two", 1)):
            yield f"{role}.{index}", list(job.logs(role=role, index=index))

    def expected(self, ids: list[str]) -> dict[str, Any]:
        logs = {f"{r}.{i}": [f"{r} {i}", "over"] for r, i in (("one", 0), ("two", 0), ("two", 1))}
        return {"end": "SUCCEEDED", **logs}


class Files:
    """A file goes in, its digest and a copy come back."""

    def begin(self, client: gridloom.Client, name: str, tell: Tell) -> list[str]:
        job = client.run(
            "sha256sum < in.bin; cp in.bin out.bin; sleep 0.1",
            shell=True,
            files={"in.bin": _content(name)},
            outputs=["out.bin"],
            env={"LOT": name},
            request_id=f"{name}-files",
            **_modest(),
        )
        return [job.id]

    def results(self, client: gridloom.Client, ids: list[str]) -> Iterator[tuple[str, Any]]:
        job = client.get(ids[0])
        job.wait(PATIENCE_S)
        yield "end", _end_of(job)
        told = next(iter(job.logs())).split()[0]
        came = hashlib.sha256(job.outputs["out.bin"].read_bytes()).hexdigest()
        yield "copies", came == told
        yield "size", job.outputs["out.bin"].size_bytes

    def expected(self, ids: list[str]) -> dict[str, Any]:
        return {"end": "SUCCEEDED 0", "copies": True, "size": UPLOAD_BYTES}


KINDS: dict[str, Lot] = {
    "calls": Calls(),
    "map": Map(),
    "links": Links(),
    "timed": Timed(),
    "arrays": Arrays(),
    "array": Array(),
    "gang": Gang(),
    "files": Files(),
}


def _followed(futures: list[Any], tell: Tell) -> list[str]:
    """Their ids, when all of them are with the platform."""
    for future in futures:
        future.add_done_callback(lambda done: tell(done.id, _outcome(done)))
    # What asks the platform for a call waits until it, and all before it, have been accepted.
    _ = futures[-1].state
    return [future.id for future in futures]


def _read_singly(client: gridloom.Client, ids: list[str]) -> Iterator[tuple[str, Any]]:
    """What a client has got is kept no longer: then that one, or the one before, has told it."""
    for each in ids:
        with contextlib.suppress(NotFoundError):
            future = client.get(each)
            # It may come over the client's own stream while it is waited for here.
            if not isinstance(future.exception(PATIENCE_S), NotFoundError):
                yield each, _outcome(future)


def _outcome(future: Any) -> list[Any]:
    try:
        return _plain(future.result(PATIENCE_S))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is held against what it has to be
        return _plain(error)


def _plain(value: Any) -> list[Any]:
    if isinstance(value, StorageFullError):
        return REFUSED
    if isinstance(value, PayloadLostError):
        return LOST
    if isinstance(value, np.ndarray):
        values = set(value[_TOKEN_BYTES:].tolist())
        return [min(values) if len(values) == 1 else "torn", value[:_TOKEN_BYTES].tobytes().hex()]
    if isinstance(value, BaseException):
        return [f"{type(value).__name__}: {value}; {value.__cause__}"]
    return list(value)


def _modest() -> dict[str, Any]:
    return {"cpus": 0.1, "memory": "32MiB", "retries": RETRIES}


def _content(name: str) -> bytes:
    return hashlib.shake_256(name.encode()).digest(UPLOAD_BYTES)


def _end_of(job: Any) -> str:
    """The state and the exit code, when it has ended; and it has ended once."""
    info = job.refresh()
    deadline = time.monotonic() + PATIENCE_S
    while not info.state.is_final and time.monotonic() < deadline:
        time.sleep(0.05)
        info = job.refresh()
    finals = [event for event in job.events() if event.to_state.is_final]
    ends = "" if len(finals) == 1 else f" told {len(finals)} times"
    assert isinstance(info.state, JobState)
    return f"{info.state.name} {info.exit_code}{ends}"
