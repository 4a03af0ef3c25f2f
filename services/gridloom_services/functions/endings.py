"""Ending calls that have not run: cancelled by their client, or because their pool is no more.

A call may wait in a queue, for other calls, for a back-off, or on disk: each is found where it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from gridloom_services.functions import failures
from gridloom_services.functions.call import stored_id
from gridloom_services.functions.dispatch import Ending
from gridloom_services.functions.recalling import Withdrawal

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.functions.call import Failure
    from gridloom_services.functions.dependencies import Dependencies
    from gridloom_services.functions.dispatch import (
        Dispatcher,
        Interruption,
        Lane,
        Recall,
    )
    from gridloom_services.functions.recalling import Recalling
    from gridloom_services.functions.session import Session

EVERY_CALL = (0, 1 << 40)

Items = tuple[int, int] | None


class Interrupter(Protocol):
    """Reaches the workers."""

    def interrupt(self, notice: Interruption, *, running: bool, grace_ms: int) -> None:
        """Have a worker drop a unit; with `running`, also where it has begun."""


class Endings:
    """Ends what waits, wherever it waits."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        recalling: Recalling,
        dependencies: Dependencies,
        encode: Callable[[Failure], bytes],
    ) -> None:
        self._dispatcher = dispatcher
        self._held = dispatcher.held
        self._recalling = recalling
        self._dependencies = dependencies
        cancelled = failures.cancelled()
        self._cancelled = Ending(cancelled.status, encode(cancelled))
        self.interrupter: Interrupter

    def cancel(
        self,
        session: Session,
        calls: tuple[int, int],
        items: Items = None,
        *,
        running: bool = False,
        grace_ms: int = 0,
        done: Callable[[int], None] | None = None,
    ) -> None:
        """Cancel calls (first, count) of a session; of a chunk only `items` (start, stop).

        `done` is told how many calls or items it reached, once those on disk are dealt with.
        """
        lanes = list(session.lanes.values())
        tally = _Tally(len(lanes), done)
        for lane in lanes:
            self._cancel_in(lane, calls, items, (running, grace_ms), tally)
        tally.lane_done(0)

    def cancel_lanes(
        self, lanes: list[Lane], *, running: bool, grace_ms: int, done: Callable[[int], None]
    ) -> None:
        """Cancel everything of some lanes."""
        tally = _Tally(len(lanes), done)
        for lane in lanes:
            self._cancel_in(lane, EVERY_CALL, None, (running, grace_ms), tally)
        tally.lane_done(0)

    def _cancel_in(
        self,
        lane: Lane,
        calls: tuple[int, int],
        items: Items,
        interruption: tuple[bool, int],
        tally: _Tally,
    ) -> None:
        reached, notices = self._dispatcher.cancel(lane, *calls, items)
        running, grace_ms = interruption
        for notice in notices:
            self.interrupter.interrupt(notice, running=running, grace_ms=grace_ms)
        reached += self._end_outside(lane, calls, items, self._cancelled)
        self._end_on_disk(lane, calls, items, self._cancelled, tally, reached)

    def end_lane(self, lane: Lane, ending: Ending) -> None:
        """End everything of a lane that no worker holds."""
        self._dispatcher.outcomes.end_waiting(lane, ending)
        self._end_outside(lane, EVERY_CALL, None, ending)
        self._end_on_disk(lane, EVERY_CALL, None, ending, _Tally(1, None), 0)

    def _end_outside(self, lane: Lane, calls: tuple[int, int], items: Items, ending: Ending) -> int:
        """What memory only knows of: calls that wait for others, for a back-off, to be read."""
        found = self._recalling.end_asked(lane, *calls, items, ending)
        recalls = list(lane.recalls)
        lane.recalls.clear()
        for recall in recalls:
            found += self._end_recall(lane, recall, calls, items, ending) or self._keep(
                lane, recall
            )
        for at, recall in self._held.take_timers(lane):
            ended = self._end_recall(lane, recall, calls, items, ending)
            if not ended:
                self._held.recall_later(lane, recall, at)
            found += ended
        first = stored_id(lane.session, calls[0])
        for block_id in self._dependencies.of_lane(lane, first, calls[1]):
            found += self._end_blocked(block_id, calls, items, ending)
        return found

    def _keep(self, lane: Lane, recall: Recall) -> int:
        lane.recalls.append(recall)
        return 0

    def _end_recall(
        self, lane: Lane, recall: Recall, calls: tuple[int, int], items: Items, ending: Ending
    ) -> int:
        """End what of a recall is meant; the rest of it is recalled as before."""
        start, stop = recall.overlap(*calls, items)
        if start >= stop:
            return 0
        self._held.recall(lane, replace(recall, start=start, stop=stop, ending=ending))
        for first, last in ((recall.start, start), (stop, recall.stop)):
            if first < last:
                self._held.recall(lane, replace(recall, start=first, stop=last))
        return stop - start

    def _end_blocked(
        self, block_id: int, calls: tuple[int, int], items: Items, ending: Ending
    ) -> int:
        """A call that waits for others; only some items of it: the rest goes on waiting."""
        waiting = self._dependencies.waiting[block_id]
        parts = [(recall, recall.overlap(*calls, items)) for recall in waiting.recalls]
        found = [(recall, part) for recall, part in parts if part[0] < part[1]]
        ended = sum(stop - start for _, (start, stop) in found)
        if ended == waiting.size:
            self._dependencies.release(block_id)
        for recall, (start, stop) in found:
            part = replace(recall, start=start, stop=stop, ending=ending)
            self._held.recall(waiting.lane, part)
        return ended

    def _end_on_disk(
        self,
        lane: Lane,
        calls: tuple[int, int],
        items: Items,
        ending: Ending,
        tally: _Tally,
        reached: int,
    ) -> None:
        ranges = lane.spill.overlap(calls[0], calls[0] + calls[1] - 1)
        if not ranges:
            tally.lane_done(reached)
            return
        tally.add(reached)
        self._recalling.withdraw(Withdrawal(lane, ranges, items, ending, tally.lane_done))


class _Tally:
    """Counts what several lanes report, and tells the sum when the last has reported."""

    def __init__(self, lanes: int, done: Callable[[int], None] | None) -> None:
        self._left = lanes + 1
        self._sum = 0
        self._done = done

    def add(self, reached: int) -> None:
        self._sum += reached

    def lane_done(self, reached: int) -> None:
        self._sum += reached
        self._left -= 1
        if not self._left and self._done is not None:
            self._done(self._sum)
