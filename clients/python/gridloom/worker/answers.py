"""A batch's results, collected until they are worth a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import call_pb2, session_pb2, worker_pb2
from gridloom.worker.progress import now_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gridloom.worker.frames import WorkerFrame

OK = call_pb2.CALL_STATUS_OK
ERROR = call_pb2.CALL_STATUS_ERROR
TIMEOUT = call_pb2.CALL_STATUS_TIMEOUT
CANCELLED = call_pb2.CALL_STATUS_CANCELLED
GIVEN_BACK = call_pb2.CALL_STATUS_UNSPECIFIED

# Results wait this long for company.
FLUSH_NS = 2_000_000


class Answers:
    """Results of one batch. What was added is sent once, in the order of adding."""

    def __init__(
        self,
        send: Callable[[WorkerFrame], None],
        epoch: int,
        batch: int,
        *,
        sums_up: bool = False,
    ) -> None:
        """`sums_up`: calls run beside each other; what each took is added to `spent_ns`."""
        self._send = send
        self._sums_up = sums_up
        self.spent_ns = 0
        self._epoch = epoch
        self._batch = batch
        self._runs: list[worker_pb2.UnitResults] = []
        self._first = 0
        self._next = -1
        self._statuses = bytearray()
        self._values: list[bytes] = []
        self._objects: list[session_pb2.CallObjects] = []
        self.flushed_at_ns = now_ns()

    @property
    def is_empty(self) -> bool:
        """Nothing waits to be sent."""
        return not (self._runs or self._values)

    def add(self, unit: int, status: int, value: bytes, objects: Sequence[str] = ()) -> None:
        """The result of a unit that is a plain call, or of a whole unit."""
        if unit != self._next:
            self._close_run()
            self._first = unit
        self._next = unit + 1
        self._statuses.append(status)
        self._values.append(value)
        if objects:
            self._note_objects(len(self._values) - 1, objects)

    def add_items(
        self,
        unit: int,
        items: tuple[int, int],
        status: int,
        value: bytes,
        objects: Sequence[str] = (),
    ) -> None:
        """The result of some items of a chunk: the first of them and how many."""
        self._close_run()
        first, count = items
        results = worker_pb2.UnitResults(first_unit=unit, statuses=bytes((status,)), values=[value])
        results.ranges.add(first=first, count=count)
        if objects:
            results.objects.add(position=0, digests=objects)
        self._runs.append(results)

    def give_back(self, first: int, count: int) -> None:
        """Units that were not begun and will not be."""
        for unit in range(first, first + count):
            self.add(unit, GIVEN_BACK, b"")

    def flush(self, *, last: bool = False) -> None:
        """Send what there is; with `last` also where there is nothing."""
        self._close_run()
        now = now_ns()
        elapsed_ns = self.spent_ns if self._sums_up else now - self.flushed_at_ns
        self.flushed_at_ns, self.spent_ns = now, 0
        if not (self._runs or last):
            return
        results = worker_pb2.Results(
            epoch=self._epoch,
            batch=self._batch,
            runs=self._runs,
            last=last,
            elapsed_us=elapsed_ns // 1000,
        )
        self._runs = []
        self._send(worker_pb2.WorkerFrame(results=results))

    def _close_run(self) -> None:
        if not self._values:
            return
        results = worker_pb2.UnitResults(
            first_unit=self._first,
            statuses=bytes(self._statuses),
            values=self._values,
            objects=self._objects,
        )
        self._runs.append(results)
        self._statuses.clear()
        self._values, self._objects, self._next = [], [], -1

    def _note_objects(self, position: int, digests: Sequence[str]) -> None:
        self._objects.append(session_pb2.CallObjects(position=position, digests=digests))
