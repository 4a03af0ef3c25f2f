"""After a restart: everything unfinished goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gridloom_services.functions import failures, wire
from gridloom_services.functions.call import Status, split_stored_id
from gridloom_services.functions.dependencies import waiting_for
from gridloom_services.functions.dispatch import Ending, Recall
from gridloom_services.functions.groups import Group
from gridloom_services.functions.ranges import Ranges
from gridloom_services.functions.session import Session

if TYPE_CHECKING:
    from gridloom_services.functions.desk import Desk
    from gridloom_services.functions.store.rows import (
        AttemptPlace,
        LaneExtent,
        Recovered,
        WaitingRow,
    )


def restore(desk: Desk, found: Recovered) -> None:
    """Put what the store knows into memory. Calls themselves stay on disk until their turn."""
    desk.sessions.begin_at(found.next_session)
    for row in found.sessions:
        desk.sessions.restore(Session(row))
    for group in found.groups:
        number, own = split_stored_id(group.id)
        session = desk.ledger.sessions.get(number)
        if session is not None:
            session.groups[own] = Group(group)
    for spec in found.specs:
        session = desk.ledger.sessions[spec.session]
        session.specs[spec.spec.number] = spec.spec
        desk.intake.make_lane(session, spec.spec)
    for extent in found.lanes:
        _restore_lane(desk, extent)
    for waiting in found.waiting:
        _restore_waiting(desk, waiting)
    for attempt in found.attempts:
        _restore_attempt(desk, attempt)


def _restore_lane(desk: Desk, extent: LaneExtent) -> None:
    session = desk.ledger.sessions[extent.session]
    lane = session.lanes[extent.spec]
    lane.spill.add(extent.first, extent.last, extent.positions)
    session.unfinished += extent.positions
    desk.ledger.unfinished += extent.positions
    desk.held.enter(lane)


def _restore_waiting(desk: Desk, row: WaitingRow) -> None:
    session = desk.ledger.sessions[split_stored_id(row.block)[0]]
    lane = session.lanes[row.spec]
    waiting = waiting_for(lane, row.block, row.size, row.upstreams, chunked=bool(row.items))
    desk.dependencies.add(row.block, waiting)
    desk.recalling.resolve(row.block)
    session.unfinished += row.left
    desk.ledger.unfinished += row.left


def _restore_attempt(desk: Desk, place: AttemptPlace) -> None:
    """A call that was run before: it waits for the rest of its back-off, or ends, or runs."""
    row = place.row
    session_number, first = split_stored_id(row.block)
    session = desk.ledger.sessions[session_number]
    lane = session.lanes[place.spec]
    sequence = first if place.items else first + row.position
    stop = row.position + 1
    recall = Recall(
        row.block,
        row.position,
        stop,
        row.attempts,
        sequence,
        chunked=bool(place.items),
        isolated=row.isolated,
    )
    waiting = desk.dependencies.waiting.get(row.block)
    if row.begun:
        value = wire.encode_failure(failures.begun_once(session.name, sequence))
        recall = replace(recall, ending=Ending(Status.WORKER_DIED, value))
    elif waiting is not None:
        waiting.recalls[:] = [*_without(waiting.recalls, row.position), recall]
        return
    desk.held.parked.setdefault(row.block, Ranges()).add(row.position, stop)
    wait_s = row.not_before - desk.clock()
    if wait_s > 0:
        desk.held.recall_later(lane, recall, desk.now() + wait_s)
    else:
        desk.held.recall(lane, recall)


def _without(recalls: list[Recall], position: int) -> list[Recall]:
    """Recalls of all positions but one."""
    return [
        replace(recall, start=start, stop=stop)
        for recall in recalls
        for start, stop in (
            (recall.start, min(recall.stop, position)),
            (max(recall.start, position + 1), recall.stop),
        )
        if start < stop
    ]
