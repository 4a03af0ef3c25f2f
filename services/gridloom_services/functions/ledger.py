"""What has been decided and is not on disk yet: the next commit's changes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.functions.call import NO_ATTEMPTS, Status, stored_id
from gridloom_services.functions.store.rows import (
    AttemptRow,
    BlockRow,
    CallEventRow,
    Changes,
    Confirmation,
    OutputRow,
    ResultRow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gridloom_services.functions.call import CallSpec
    from gridloom_services.functions.dependencies import Dependencies
    from gridloom_services.functions.dispatch import Block, Lane, Recall, Span
    from gridloom_services.functions.groups import Group
    from gridloom_services.functions.session import Session

RUN_BYTES = 256 << 10
"""A run of results is kept in one row up to about this size: readers of one result read the row."""

GROUP_EVENTS = 10_000
"""Runs that failed and are repeated: of one group so many are told."""

OUTPUT_BYTES = 4 << 20
"""What is kept of the output of one call, all its items together."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One commit, and whom it concerns. `ended_chunks`: chunks all of whose items have results."""

    changes: Changes
    groups: list[Group]
    sessions: list[Session]
    ended_chunks: set[int]


_FEW_CALLS = 8
"""Whoever has fewer open is taken to wait for each of their results."""


class Ledger:
    """Collects changes; it is the `Sink` of dispatch. `take` begins the next commit."""

    def __init__(
        self,
        dependencies: Dependencies,
        clock: Callable[[], float],
        describe: Callable[[bytes], str],
    ) -> None:
        """`clock` tells seconds since 1970, `describe` an encoded error in one sentence."""
        self.sessions: dict[int, Session] = {}
        self.changes = Changes()
        self.unfinished = 0
        """Calls and items that were accepted and have no result."""
        self.is_awaited = False
        """A session that has hardly anything else open has a result that is not on disk."""
        self.pending_bytes = 0
        """Of arguments that are not on disk."""
        self.finished_items = 0
        self.failed_items = 0
        self._dependencies = dependencies
        self._clock = clock
        self._describe = describe
        self._told: Counter[int] = Counter()
        self._blocks: dict[int, Block] = {}
        self._progress: dict[int, Block] = {}
        self._finished: dict[int, Block] = {}
        """Those whose rows go."""
        self._touched: set[Session] = set()
        self._groups: set[Group] = set()
        self._ended_chunks: set[int] = set()
        self._printed: Counter[int] = Counter()

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._touched or self._blocks or self._progress or self._groups) or bool(
            self.changes
        )

    @property
    def is_lone_call(self) -> bool:
        """Nothing but one new call is to be written: its result may come soon enough to join it."""
        if len(self._blocks) != 1 or self._progress or self._groups or self.changes.results:
            return False
        return self.lone_lane.held_calls == 1

    @property
    def lone_lane(self) -> Lane:
        """Whose that call is."""
        (block,) = self._blocks.values()
        return block.lane

    # ---- calls

    def accept(self, session: Session, block: Block) -> None:
        """New calls of a session, in the order of their sequence numbers."""
        block.accepted_at = self._clock()
        self._blocks[block.id] = block
        self.pending_bytes += block.bytes
        self._touched.add(session)
        session.accepted = block.first + block.calls - 1
        session.unfinished += block.size
        self.unfinished += block.size

    def add_dependencies(self, block: Block) -> None:
        """What an accepted call waits for."""
        rows = [(block.id, position, call) for position, call in enumerate(block.needs)]
        self.changes.dependencies += rows

    def begun(self, span: Span) -> None:
        """At-most-once: these positions go to a worker once this is on disk."""
        self.changes.attempts += [
            AttemptRow(span.block.id, position, span.attempts, begun=True)
            for position in range(span.start, span.stop)
        ]

    def attempted(self, lane: Lane, recall: Recall, delay_s: float, error: bytes) -> None:
        """A run failed with this error and is repeated after `delay_s`."""
        not_before = self._clock() + delay_s if delay_s else 0.0
        self.changes.attempts.append(
            AttemptRow(
                recall.block_id,
                recall.start,
                recall.attempts,
                isolated=recall.isolated,
                not_before=not_before,
            )
        )
        self._tell(lane, recall, error)

    def _tell(self, lane: Lane, recall: Recall, error: bytes) -> None:
        """Keep what whoever asks for the events of the call, or of its group, is told."""
        session = self.sessions[lane.session]
        group = lane.spec.group and stored_id(lane.session, lane.spec.group)
        if group:
            self._told[group] += 1
            if self._told[group] > GROUP_EVENTS:
                return
        session.has_outputs = True
        position = 0 if recall.chunked else recall.start
        self.changes.call_events.append(
            CallEventRow(
                recall.block_id + position,
                group,
                self._clock(),
                recall.start if recall.chunked else 0,
                recall.attempts.number,
                self._describe(error),
            )
        )

    def changed(self, block_id: int) -> Block | None:
        """A stored block of which something has ended since the last commit began.

        What was read of it with that commit is out of date.
        """
        return self._progress.get(block_id) or self._finished.get(block_id)

    def is_new(self, block_id: int) -> bool:
        """Accepted since the last commit began."""
        return block_id in self._blocks

    # ---- results

    def finished(self, span: Span, statuses: bytes, values: Sequence[bytes]) -> None:
        """Positions have their results."""
        block = span.block
        session = self.sessions[block.lane.session]
        self._touched.add(session)
        if block.items:
            items = (span.start, span.size)
            self._add(session, block, block.first, items, statuses, values)
        else:
            for start, stop in _runs(values):
                first = block.first + span.start + start
                self._add(session, block, first, None, statuses[start:stop], values[start:stop])
        if span.attempts is not NO_ATTEMPTS or block.lane.spec.at_most_once:
            self.changes.attempts_over.append((block.id, span.start, span.stop))
        self._count(session, span, statuses)
        if block.left:
            self._progress[block.id] = block
        else:
            self._block_ended(block)

    def _add(
        self,
        session: Session,
        block: Block,
        first: int,
        items: tuple[int, int] | None,
        statuses: bytes,
        values: Sequence[bytes],
    ) -> None:
        session.result_number += 1
        self.changes.results.append(
            ResultRow(
                session.number,
                session.result_number,
                first,
                items,
                statuses,
                values,
                _kept_in(session, block.lane.spec),
                block.offset + first - block.first,
                self._clock(),
                block.accepted_at,
            )
        )

    def _count(self, session: Session, span: Span, statuses: bytes) -> None:
        size = span.size
        session.unfinished -= size
        self.is_awaited = self.is_awaited or session.unfinished < _FEW_CALLS
        self.unfinished -= size
        self.finished_items += size
        each = size if span.block.items else 1
        good = each * statuses.count(Status.OK)
        self.failed_items += size - good
        estimate = span.block.lane.estimate
        estimate.succeeded += good
        estimate.failed += size - good
        group = session.groups.get(span.block.lane.spec.group)
        if group is not None:
            group.count(statuses, each, self._clock())
            self._groups.add(group)

    def _block_ended(self, block: Block) -> None:
        """Nothing of a block is left to run: its row goes, or is never written."""
        self._progress.pop(block.id, None)
        if self._blocks.pop(block.id, None) is None:
            self._finished[block.id] = block
        if block.items:
            self._ended_chunks.add(block.id)
        if self._printed:
            self._forget_printed(block)
        if block.needs:
            self.changes.dependencies_over.append(block.id)
            self.changes.unpinned += self._dependencies.over(block.id)

    def refuse(
        self, session: Session, first: int, items: Sequence[int], group: int, value: bytes
    ) -> None:
        """Calls that are taken in only to be answered: plain ones (0 items), or chunks."""
        session.accepted = first + len(items) - 1
        self._touched.add(session)
        owner = session.groups.get(group)
        offset = owner.admit(sum(count or 1 for count in items)) if owner is not None else 0
        for sequence, count in enumerate(items, first):
            size = count or 1
            self._refuse_one(session, sequence, (0, count) if count else None, offset, group, value)
            offset += size
            self.failed_items += size
            self.finished_items += size
            if owner is not None:
                owner.count(bytes((Status.REFUSED,)), size, self._clock())
                self._groups.add(owner)

    def _refuse_one(
        self,
        session: Session,
        first: int,
        items: tuple[int, int] | None,
        offset: int,
        group: int,
        value: bytes,
    ) -> None:
        session.result_number += 1
        self.changes.results.append(
            ResultRow(
                session.number,
                session.result_number,
                first,
                items,
                bytes((Status.REFUSED,)),
                (value,),
                group and stored_id(session.number, group),
                offset,
                self._clock(),
            )
        )

    def confirm(self, session: Session, number: int) -> None:
        """The client has processed results up to a number: those may go."""
        number = min(number, session.delivery.committed)
        if number <= session.confirmed:
            return
        self.changes.confirmed.append(
            Confirmation(
                session.number, session.confirmed, number, session.has_outputs, session.has_holds
            )
        )
        session.confirmed = number
        self._touched.add(session)

    # ---- output

    def print(self, span: Span, item: int, stream: int, data: bytes) -> None:
        """Something that a call printed; what is beyond the bound is left out."""
        block, lane = span.block, span.block.lane
        call = stored_id(lane.session, block.sequence(span.start))
        self._printed[call] += len(data)
        if self._printed[call] > OUTPUT_BYTES:
            return
        session = self.sessions[lane.session]
        session.has_outputs = True
        self._touched.add(session)
        group = lane.spec.group and stored_id(lane.session, lane.spec.group)
        self.changes.outputs.append(OutputRow(call, group, item, stream, data))

    def _forget_printed(self, block: Block) -> None:
        for call in range(block.id, block.id + block.calls):
            self._printed.pop(call, None)

    # ---- groups, sessions

    def touch(self, session: Session) -> None:
        """How far a session came is to be written."""
        session.seen_at = self._clock()
        self._touched.add(session)

    def is_touched(self, session: Session) -> bool:
        """Something of a session is to be written."""
        return session in self._touched

    def touch_group(self, group: Group) -> None:
        """A group has changed."""
        self._groups.add(group)

    # ---- the commit

    def take(self) -> Taken:
        """Everything since the last time, as one commit."""
        changes, self.changes = self.changes, Changes()
        self.is_awaited = False
        blocks, self._blocks, self.pending_bytes = self._blocks, {}, 0
        progress, self._progress = self._progress, {}
        touched, self._touched = self._touched, set()
        groups, self._groups = list(self._groups), set()
        ended_chunks, self._ended_chunks = self._ended_chunks, set()
        changes.finished, self._finished = list(self._finished), {}
        changes.blocks = [_block_row(block) for block in blocks.values()]
        for block_id, block in progress.items():
            assert block.done is not None
            changes.progress.append((block_id, block.done.pack()))
        changes.groups += [group.row() for group in groups]
        changes.sessions = [
            (one.accepted, one.result_number, one.confirmed, one.seen_at, one.number)
            for one in touched
        ]
        if changes.confirmed or changes.unpinned:
            changes.pinned = set(self._dependencies.pins)
        return Taken(changes, groups, list(touched), ended_chunks)


def _kept_in(session: Session, spec: CallSpec) -> int:
    """In which group a result is kept; what has a name and no group: as of a group 0."""
    return stored_id(session.number, spec.group) if spec.group or spec.name else 0


def _block_row(block: Block) -> BlockRow:
    return BlockRow(
        block.id,
        block.lane.spec.number,
        block.items,
        len(block.needs),
        block.offset,
        block.accepted_at,
        block.arguments,
    )


def _runs(values: Sequence[bytes]) -> list[tuple[int, int]]:
    """Where a run of results is cut so that its rows are not too large."""
    if len(values) == 1 or sum(map(len, values)) <= RUN_BYTES:
        return [(0, len(values))]
    runs, start, size = [], 0, 0
    for index, value in enumerate(values):
        if size and size + len(value) > RUN_BYTES:
            runs.append((start, index))
            start, size = index, 0
        size += len(value)
    return [*runs, (start, len(values))]
