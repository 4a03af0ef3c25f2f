"""What workers answer, as events for dispatch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.functions.call import stored_id
from gridloom_services.functions.dispatch import Death, ItemsAnswer
from gridloom_services.functions.store.rows import HoldRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.api.functions.v1 import worker_pb2

    from gridloom_services.functions.dispatch import Dispatcher, Lane, Lease
    from gridloom_services.functions.ledger import Ledger


class Answers:
    """Takes results and output of workers, each under its lease."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        ledger: Ledger,
        holder: Callable[[Lane, int], str],
    ) -> None:
        """`holder` names in whose name the objects of a call's result are held."""
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._holder = holder

    def take(self, worker_id: str, results: worker_pb2.Results, now: float) -> None:
        """One answer, for part of a batch or for the rest of it."""
        items = 0
        for run in results.runs:
            if run.objects:
                self._hold(worker_id, results.batch, run)
            if run.ranges:
                items += self._take_items(worker_id, results.batch, run, now)
            else:
                statuses = run.statuses
                items += len(statuses) - statuses.count(0)
                place = (worker_id, results.batch, run.first_unit)
                self._dispatcher.answer(place, statuses, list(run.values), now)
        self._dispatcher.measured(worker_id, results.batch, items, results.elapsed_us)
        if results.last:
            self._dispatcher.batch_done(worker_id, results.batch, now)

    def _take_items(
        self, worker_id: str, batch: int, run: worker_pb2.UnitResults, now: float
    ) -> int:
        items = 0
        for status, value, part in zip(run.statuses, run.values, run.ranges, strict=False):
            answer = ItemsAnswer(run.first_unit, part.first, part.count, status, value)
            self._dispatcher.answer_items(worker_id, batch, answer, now)
            items += part.count
        return items

    def _hold(self, worker_id: str, batch: int, run: worker_pb2.UnitResults) -> None:
        """Results refer to objects: those are kept as long as the results."""
        lease = self._lease(worker_id, batch)
        if lease is None:
            return
        for each in run.objects:
            unit = run.first_unit if run.ranges else run.first_unit + each.position
            span = lease.begun(unit, None)
            if span is None:
                continue
            lane, sequence = lease.lane, span.block.sequence(span.start)
            self._ledger.sessions[lane.session].has_holds = True
            call = stored_id(lane.session, sequence)
            row = HoldRow(call, self._holder(lane, sequence), tuple(each.digests))
            self._ledger.changes.holds.append(row)

    def _lease(self, worker_id: str, batch: int) -> Lease | None:
        worker = self._dispatcher.workers.get(worker_id)
        return worker.leases.get(batch) if worker is not None else None

    def print(self, worker_id: str, output: worker_pb2.WorkerOutput) -> None:
        """Something that a call under a lease has printed."""
        lease = self._lease(worker_id, output.batch)
        span = lease.begun(output.unit, None) if lease is not None else None
        if span is not None:
            self._ledger.print(span, output.item, output.stream, output.data)


def death_from(message: worker_pb2.WorkerDied) -> Death:
    """Why a worker is no more, as its host says."""
    details: dict[str, str] = {}
    if message.signal:
        details["signal"] = str(message.signal)
    elif message.exit_code or message.busy:
        details["exit_code"] = str(message.exit_code)
    if message.peak_memory_bytes:
        details["peak_bytes"] = str(message.peak_memory_bytes)
    if message.out_of_memory and message.limit_memory_bytes:
        details["limit_bytes"] = str(message.limit_memory_bytes)
    return Death(
        out_of_memory=message.out_of_memory,
        timed_out=message.timed_out,
        busy=message.busy,
        batch=message.batch,
        unit=message.unit,
        item=message.item,
        others=tuple((place.batch, place.unit, place.item) for place in message.others),
        details=tuple(details.items()),
    )
