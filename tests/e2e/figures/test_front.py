"""A lone call through the front, beside what nothing but gRPC takes on the same way."""

from __future__ import annotations

import queue
import statistics
import time
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.e2e.machine.run import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.client import Client

    from tests.e2e.support.release import Release

_TIMES, _WARM = 500, 50
_UNKNOWN = reflection_pb2.ServerReflectionRequest(file_containing_symbol="gridloom.Nothing")


def test_a_lone_call_beside_an_empty_question_and_an_echo(client: Client, release: Release):
    question, echo = _bare(release)
    with client.pool(workers=1, cpus=0.1) as pool:
        list(pool.map(abs, range(20)))
        call = _times(lambda: pool.submit(abs, 1).result())
    say(
        f"through the front, p50 (p10, p90): a lone call {_shown(call)}; a unary question of gRPC"
        f" {_shown(question)}; an echo on an open stream {_shown(echo)}; the call is"
        f" {statistics.median(call) / statistics.median(echo):.1f} echoes"
    )


def _bare(release: Release) -> tuple[list[float], list[float]]:
    """A question that asks nothing, and a message there and back on a stream that is open."""
    key = (("authorization", f"Bearer {release.admin_key()}"),)
    sent: queue.SimpleQueue[reflection_pb2.ServerReflectionRequest | None] = queue.SimpleQueue()

    def there_and_back() -> None:
        sent.put(_UNKNOWN)
        next(answers)

    with grpc.insecure_channel(release.address.removeprefix("http://")) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        empty = health_pb2.HealthCheckRequest()
        question = _times(lambda: health.Check(empty, metadata=key))
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = reflection.ServerReflectionInfo(iter(sent.get, None), metadata=key)
        echo = _times(there_and_back)
        sent.put(None)
    return question, echo


def _times(act: Callable[[], object]) -> list[float]:
    """Milliseconds of each, without the first ones."""
    found = []
    for _ in range(_WARM + _TIMES):
        began = time.perf_counter()
        act()
        found.append(1000 * (time.perf_counter() - began))
    return sorted(found[_WARM:])


def _shown(found: list[float]) -> str:
    p10, p50, p90 = (found[len(found) * part // 100] for part in (10, 50, 90))
    return f"{p50:.2f} ms ({p10:.2f}, {p90:.2f})"
