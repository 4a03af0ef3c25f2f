"""What the call path reaches: `python -m tests.bench.calls [--quick]`.

A real embedded platform in a folder of its own, real workers, and a raw client: one gRPC stream and
envelopes made by hand, so that the figures are those of the service and its workers. Beside each
wall time stands the processor time that the platform's process took for a call: on a busy machine
that is the figure to compare.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")

import cloudpickle
import grpc
from gridloom.api.functions.v1 import functions_pb2 as pb
from gridloom.api.functions.v1 import functions_pb2_grpc, pool_pb2, session_pb2
from gridloom.version import PROTOCOL

from tests.support.service import EmbeddedProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    Figures = Iterator[tuple[str, float, str]]

FRAME_CALLS = 4096
ARGUMENTS = b"\x01" + pickle.dumps(((), {}), protocol=5)
WORKERS = 2


def nothing() -> None:
    """The call that is measured."""


class RawClient:
    """A session on one stream. One thread reads, the caller writes."""

    def __init__(self, address: str, token: str, key: bytes) -> None:
        self._channel = grpc.insecure_channel(address)
        self.stub: Any = functions_pb2_grpc.FunctionsServiceStub(self._channel)
        self._out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.metadata = (("authorization", f"Bearer {token}"),)
        hello = session_pb2.Hello(
            session_key=key, protocol=PROTOCOL, python=f"3.{sys.version_info.minor}"
        )
        self._out.put(session_pb2.OpenSessionRequest(hello=hello))
        self._call = self.stub.OpenSession(iter(self._out.get, None), metadata=self.metadata)
        self.welcome = next(self._call).welcome
        self.next = 1
        self.acknowledged = self.results = self.failed = self.number = 0
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def define(self, function: Any, pool: pool_pb2.PoolSpec | None = None) -> None:
        function.__module__ = "__main__"  # travels by value
        code = b"\x01" + cloudpickle.dumps((function, ""))
        digest = hashlib.sha256(code).digest()
        definition = session_pb2.FunctionDefinition(digest=digest, name="nothing", code=code)
        spec = session_pb2.CallSpec(number=1, function_digest=digest, pool=pool)
        self._out.put(session_pb2.OpenSessionRequest(functions=[definition], specs=[spec]))

    def _read(self) -> None:
        try:
            for message in self._call:
                with self._changed:
                    self.acknowledged = max(self.acknowledged, message.acknowledged)
                    for run in message.results:
                        self.failed += len(run.statuses) - run.statuses.count(1)
                        self.results += sum(part.count for part in run.ranges) or len(run.statuses)
                    self.number = max(self.number, message.result_number)
                    self._changed.notify_all()
        except grpc.RpcError:
            return

    def submit(self, count: int, items: int = 0) -> None:
        """Put calls on the stream; of `items` each, or plain ones."""
        for start in range(0, count, FRAME_CALLS):
            size = min(FRAME_CALLS, count - start)
            arguments = [_chunk(items)] * size if items else [ARGUMENTS] * size
            frame = session_pb2.Frame(
                first_sequence=self.next,
                spec=1,
                arguments=arguments,
                items=[items] * size if items else [],
            )
            self.next += size
            self._out.put(session_pb2.OpenSessionRequest(frames=[frame], confirmed=self.number))

    def until(self, *, results: int = 0, acknowledged: int = 0) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self.results >= results and self.acknowledged >= acknowledged, 300
            )

    def close_pools(self) -> None:
        """Leave no worker behind."""
        for pool in self.stub.ListPools(pb.ListPoolsRequest(), metadata=self.metadata).pools:
            request = pb.ClosePoolRequest(pool_id=pool.id, cancel_running=True)
            self.stub.ClosePool(request, metadata=self.metadata)
            while self._state(pool.id) != pool_pb2.POOL_STATE_CLOSED:
                time.sleep(0.05)

    def _state(self, pool_id: str) -> int:
        request = pb.GetPoolRequest(pool_id=pool_id)
        return self.stub.GetPool(request, metadata=self.metadata).pool.state

    def close(self) -> None:
        self._call.cancel()
        self._reader.join()
        self._channel.close()


def _chunk(items: int) -> bytes:
    return b"\x01" + pickle.dumps([((), {})] * items, protocol=5)


class Usage:
    """Processor time and memory of a process."""

    def __init__(self, pid: int) -> None:
        self._stat = Path(f"/proc/{pid}/stat")
        self._status = Path(f"/proc/{pid}/status")

    def cpu_s(self) -> float:
        fields = self._stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        lines = self._status.read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def lone(client: RawClient, count: int) -> Figures:
    """One call after the other, each waited for."""
    times = []
    for _ in range(count):
        begun, target = time.perf_counter(), client.results + 1
        client.submit(1)
        client.until(results=target)
        times.append(1000 * (time.perf_counter() - begun))
    assert not client.failed
    times.sort()
    yield "raw client: lone call, p50", times[count // 2], "ms"
    yield "raw client: lone call, p99", times[count * 99 // 100], "ms"


def flood(client: RawClient, usage: Usage, count: int, repeats: int) -> Figures:
    """Many calls at once, until all results are here."""
    rates, costs = [], []
    for _ in range(repeats):
        begun, cpu = time.perf_counter(), usage.cpu_s()
        target = client.results + count
        client.submit(count)
        client.until(results=target)
        rates.append(count / (time.perf_counter() - begun))
        costs.append(1e6 * (usage.cpu_s() - cpu) / count)
    yield f"raw client: flood of {count:,}", statistics.median(rates), "calls/s"
    yield f"  platform's processor time, of {count:,}", statistics.median(costs), "us a call"


def chunks(client: RawClient, count: int, repeats: int) -> Figures:
    """A map: few calls of many items."""
    rates = []
    for _ in range(repeats):
        begun = time.perf_counter()
        target = client.results + count
        client.submit(4 * WORKERS, count // (4 * WORKERS))
        client.until(results=target)
        rates.append(count / (time.perf_counter() - begun))
    yield f"raw client: map of {count:,}", statistics.median(rates), "items/s"


def queued(client: RawClient, usage: Usage, count: int) -> Figures:
    """Calls that only wait: how fast they are durable, what memory they cost."""
    memory, begun, cpu = usage.memory_bytes(), time.perf_counter(), usage.cpu_s()
    client.submit(count)
    client.until(acknowledged=client.next - 1)
    elapsed = time.perf_counter() - begun
    yield "raw client: calls made durable", count / elapsed, "calls/s"
    yield "  platform's processor time, queued", 1e6 * (usage.cpu_s() - cpu) / count, "us a call"
    yield "  platform's memory, queued", (usage.memory_bytes() - memory) / count, "B a call"


def beside_a_flood(platform: EmbeddedProcess, client: RawClient, count: int) -> Figures:
    """One call after the other while another client sends without pause."""
    command = [sys.executable, "-m", "tests.bench.calls", "--flood", platform.address]
    other = subprocess.Popen([*command, platform.token], stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    for name, value, unit in lone(client, count):
        yield f"{name}, beside a flood", value, unit
    other.terminate()
    other.wait()
    other.stdout.close()


def flood_without_end(address: str, token: str) -> None:
    """What the other client does."""
    client = RawClient(address, token, os.urandom(16))
    client.define(nothing, pool_pb2.PoolSpec(workers=WORKERS, python=sys.executable))
    while True:
        client.submit(20_000)
        client.until(results=client.next - 1 - 20_000)
        print(client.results, flush=True)


def many_streams(platform: EmbeddedProcess, processes: int, streams: int, calls: int) -> Figures:
    """Many clients at once, each with as many calls: all are served, and none much later."""
    command = [sys.executable, "-m", "tests.bench.calls", "--streams", f"{streams}x{calls}"]
    others = [
        subprocess.Popen(
            [*command, platform.address, platform.token],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for other in others:
        other.stdout.readline()
    begun = time.perf_counter()
    for other in others:
        other.stdin.write("go\n")
        other.stdin.flush()
    ends = [float(word) for other in others for word in other.stdout.readline().split()]
    elapsed = time.perf_counter() - begun
    for other in others:
        other.communicate()
    ends.sort()
    total = processes * streams * calls
    yield f"{processes * streams} streams x {calls}", total / elapsed, "calls/s"
    yield "  last stream / median", ends[-1] / ends[len(ends) // 2], "x"


def streams_of_one_process(address: str, token: str, streams: int, calls: int) -> None:
    """A share of them."""
    clients = [RawClient(address, token, os.urandom(16)) for _ in range(streams)]
    for client in clients:
        client.define(nothing, pool_pb2.PoolSpec(workers=WORKERS, python=sys.executable))
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    for client in clients:
        client.submit(calls)
    ends = [0.0] * streams
    threads = [
        threading.Thread(target=_wait_for_end, args=(client, calls, ends, index, begun))
        for index, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*ends, flush=True)


def _wait_for_end(
    client: RawClient, calls: int, ends: list[float], index: int, begun: float
) -> None:
    client.until(results=calls)
    ends[index] = time.perf_counter() - begun


def figures(platform: EmbeddedProcess, *, quick: bool) -> Figures:
    usage = Usage(platform.pid)
    scale = 1 if quick else 5
    client = RawClient(platform.address, platform.token, os.urandom(16))
    begun = time.perf_counter()
    client.define(nothing, pool_pb2.PoolSpec(workers=WORKERS, python=sys.executable))
    client.submit(1)
    client.until(results=1)
    yield "first call, pool not there", time.perf_counter() - begun, "s"
    flood_warm = flood(client, usage, 10_000, 1)
    list(flood_warm)
    yield from lone(client, 200 * scale)
    yield from flood(client, usage, 10_000, 2 * scale)
    yield from flood(client, usage, 100_000, 1)
    yield from chunks(client, 10_000, 4 * scale)
    yield from beside_a_flood(platform, client, 100 * scale)
    client.close()
    yield from many_streams(platform, 20, 10, 500)
    waiting = RawClient(platform.address, platform.token, os.urandom(16))
    blocked = pool_pb2.PoolSpec(workers=1, python=sys.executable, name="held")
    waiting.define(_sleep_long, blocked)
    yield from queued(waiting, usage, 100_000 * scale)
    waiting.close_pools()
    waiting.close()


def _sleep_long() -> None:
    time.sleep(3600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--flood", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--streams", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flood:
        flood_without_end(*options.flood)
    if options.streams:
        shape, address, token = options.streams
        streams_of_one_process(address, token, *map(int, shape.split("x")))
        return
    for name, value, unit in measured(quick=options.quick):
        print(f"{name:44} {value:12,.2f} {unit}", flush=True)


def measured(*, quick: bool) -> Figures:
    """On a platform of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="gridloom-bench-") as home,
        EmbeddedProcess(Path(home), "--cpus", "4") as platform,
    ):
        yield from figures(platform, quick=quick)


if __name__ == "__main__":
    main()
