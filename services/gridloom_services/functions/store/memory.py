"""The store of calls in memory: for tests, and for whoever needs no durability."""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import replace
from typing import TYPE_CHECKING

from gridloom_services.functions.call import Status, stored_id
from gridloom_services.functions.ranges import Ranges
from gridloom_services.functions.store.rows import (
    AttemptPlace,
    BlockRow,
    Found,
    InputRow,
    LaneExtent,
    Pruned,
    Recovered,
    Upstream,
    WaitingRow,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridloom_services.functions.call import Function
    from gridloom_services.functions.store.base import Done
    from gridloom_services.functions.store.rows import (
        AttemptRow,
        CallEventRow,
        Changes,
        Confirmation,
        EventQuery,
        GroupRow,
        HoldRow,
        OutputQuery,
        OutputRow,
        PoolEventRow,
        PoolRow,
        Reads,
        Refill,
        ResultQuery,
        ResultRow,
        SessionRow,
        SpecRow,
    )


class MemoryCallStore:
    """`CallStore` in dictionaries. What was committed survives `close` and `open`."""

    def __init__(self) -> None:
        self._epoch = 0
        self._sessions: dict[int, SessionRow] = {}
        self._functions: dict[bytes, Function] = {}
        self._stored_at: dict[bytes, float] = {}
        self._specs: dict[tuple[int, int], SpecRow] = {}
        self._groups: dict[int, GroupRow] = {}
        self._blocks: dict[int, BlockRow] = {}
        self._block_ids: list[int] = []
        self._done: dict[int, Ranges] = {}
        self._attempts: dict[tuple[int, int], AttemptRow] = {}
        self._dependencies: dict[int, dict[int, int]] = {}
        self._holds: dict[int, list[HoldRow]] = {}
        self._results: dict[int, ResultRow] = {}
        self._outputs: list[tuple[int, OutputRow]] = []
        self._call_events: list[tuple[int, CallEventRow]] = []
        self._pool_events: list[tuple[int, PoolEventRow]] = []
        self._pools: dict[str, PoolRow] = {}

    async def open(self) -> int:
        """Count this start."""
        self._epoch += 1
        return self._epoch

    async def close(self) -> None:
        """Nothing is open."""

    # ---- writing

    def commit(self, changes: Changes, reads: Reads, done: Done) -> None:
        """At once."""
        self._write_rare(changes)
        for block in changes.blocks:
            self._blocks[block.id] = replace(block, arguments=list(block.arguments))
            insort(self._block_ids, block.id)
        self._results.update((row.id, row) for row in changes.results)
        for block_id in changes.finished:
            self._done.pop(block_id, None)
            if self._blocks.pop(block_id, None) is not None:
                self._block_ids.remove(block_id)
        self._done.update((block, Ranges.unpack(packed)) for block, packed in changes.progress)
        released = [held for one in changes.confirmed for held in self._confirm(one, changes)]
        for last, number, confirmed, seen_at, session in changes.sessions:
            self._sessions[session] = replace(
                self._sessions[session],
                last_sequence=last,
                result_number=number,
                confirmed=confirmed,
                seen_at=seen_at,
            )
        released += [held for call in changes.unpinned for held in self._unpin(call, changes)]
        found = self._read(reads)
        found.released = released
        done(found)

    def _write_rare(self, changes: Changes) -> None:
        for session in changes.new_sessions:
            self._sessions.setdefault(session.number, session)
        for function, at in changes.functions:
            self._functions.setdefault(function.digest, function)
            self._stored_at[function.digest] = at
        for spec in changes.specs:
            self._specs.setdefault((spec.session, spec.spec.number), spec)
        self._groups.update((row.id, row) for row in changes.groups)
        self._pools.update((row.id, row) for row in changes.pools)
        self._write_sparse(changes)
        for output in changes.outputs:
            self._outputs.append((len(self._outputs) + 1, output))
        for event in changes.call_events:
            self._call_events.append((_after(self._call_events), event))
        for change in changes.pool_events:
            self._pool_events.append((_after(self._pool_events), change))

    def _write_sparse(self, changes: Changes) -> None:
        for block, position, upstream in changes.dependencies:
            self._dependencies.setdefault(block, {})[position] = upstream
        for block in changes.dependencies_over:
            self._dependencies.pop(block, None)
        for hold in changes.holds:
            self._holds.setdefault(hold.call, []).append(hold)
        for call in changes.holds_over:
            self._holds.pop(call, None)
        self._attempts.update(((row.block, row.position), row) for row in changes.attempts)
        for block, start, stop in changes.attempts_over:
            for position in range(start, stop):
                self._attempts.pop((block, position), None)

    def _confirm(self, confirmed: Confirmation, changes: Changes) -> list[tuple[int, str]]:
        above = stored_id(confirmed.session, confirmed.above)
        upto = stored_id(confirmed.session, confirmed.number)
        rows = [row for key, row in self._results.items() if above < key <= upto]
        free = [row for row in rows if not row.group and not _is_pinned(changes, row)]
        kept = [row for row in rows if row.group and not _is_pinned(changes, row)]
        released = [held for row in free for held in self._drop(row)]
        return released + [held for row in kept for held in self._let_go(row, upto)]

    def _unpin(self, call: int, changes: Changes) -> list[tuple[int, str]]:
        released: list[tuple[int, str]] = []
        for row in self._runs_of(call):
            seen = row.number <= self._sessions[row.session].confirmed
            if not seen or _is_pinned(changes, row):
                continue
            released += self._let_go(row, row.id) if row.group else self._drop(row)
        return released

    def _let_go(self, row: ResultRow, upto: int) -> list[tuple[int, str]]:
        """What is held for one call only, when that is over and its client has all of it."""
        first = stored_id(row.session, row.first)
        if any(part.id > upto for part in self._runs_of(first)):
            return []
        calls = [call for call in range(first, first + row.calls) if call in self._holds]
        holders = [(call, self._holds[call][0].holder) for call in calls]
        return [
            (call, holder)
            for call, holder in holders
            if holder.startswith("call_") and call not in self._blocks
        ]

    def _drop(self, row: ResultRow) -> list[tuple[int, str]]:
        del self._results[row.id]
        calls = range(first := stored_id(row.session, row.first), first + row.calls)
        self._outputs = [each for each in self._outputs if each[1].call not in calls]
        self._call_events = [each for each in self._call_events if each[1].call not in calls]
        return [(call, self._holds[call][0].holder) for call in calls if call in self._holds]

    # ---- reading with a commit

    def _read(self, reads: Reads) -> Found:
        return Found(
            refills=[self._refill(refill) for refill in reads.refills],
            recalls=[self._recall(*recall) for recall in reads.recalls],
            blocked=[
                (block, [self._upstream(call) for call in calls]) for block, calls in reads.blocked
            ],
        )

    def _refill(self, refill: Refill) -> tuple[list[BlockRow], bool]:
        first = stored_id(refill.session, refill.first)
        last = stored_id(refill.session, refill.last)
        found: list[BlockRow] = []
        for block_id in self._block_ids:
            row = self._blocks[block_id]
            if not first <= block_id <= last or row.spec != refill.spec or row.needs:
                continue
            if sum(block.calls for block in found) >= refill.calls:
                return found, False
            found.append(self._copy(row))
        return found, True

    def _copy(self, row: BlockRow) -> BlockRow:
        done = self._done.get(row.id)
        return replace(row, done=None if done is None else Ranges(done))

    def _recall(self, block_id: int, with_inputs: bool) -> BlockRow | None:  # noqa: FBT001
        row = self._blocks.get(block_id)
        if row is None:
            return None
        needed = sorted(self._dependencies.get(block_id, {}).items()) if with_inputs else []
        inputs = [self._input(upstream) for _, upstream in needed]
        return replace(self._copy(row), inputs=inputs)

    def _input(self, call: int) -> InputRow:
        runs = self._runs_of(call)
        if runs[0].items:
            return InputRow(tuple(row.values[0] for row in runs), chunked=True)
        at = call - stored_id(runs[0].session, runs[0].first)
        return InputRow((runs[0].values[at],), chunked=False)

    def _upstream(self, call: int) -> Upstream:
        if self._block_of(call) is not None:
            return Upstream(call, None)
        for row in (runs := self._runs_of(call)):
            at = 0 if row.items else call - stored_id(row.session, row.first)
            if row.statuses[at] != Status.OK:
                return Upstream(call, Status(row.statuses[at]), row.values[at])
        return Upstream(call, Status.OK if runs else Status.REFUSED)

    def _runs_of(self, call: int) -> list[ResultRow]:
        rows = [
            row
            for row in self._results.values()
            if stored_id(row.session, row.first)
            <= call
            < stored_id(row.session, row.first) + row.calls
        ]
        return sorted(rows, key=lambda row: row.items or (0, 0))

    def _block_of(self, call: int) -> BlockRow | None:
        at = bisect_right(self._block_ids, call) - 1
        if at < 0:
            return None
        row = self._copy(self._blocks[self._block_ids[at]])
        ended = row.done is not None and not row.items and call - row.id in row.done
        return None if ended or call >= row.id + row.calls else row

    # ---- reading alone

    async def recover(self) -> Recovered:
        """What is unfinished."""
        used = {(row.id >> 40, row.spec) for row in self._blocks.values()}
        specs = [row for key, row in sorted(self._specs.items()) if key in used]
        groups = {stored_id(row.session, row.spec.group) for row in specs if row.spec.group}
        return Recovered(
            next_session=1 + max(self._sessions, default=0),
            sessions=[row for key, row in sorted(self._sessions.items()) if self._has_blocks(key)],
            specs=specs,
            groups=[row for key, row in sorted(self._groups.items()) if key in groups],
            pools=sorted(self._pools.values(), key=lambda row: (row.created_at, row.id)),
            lanes=self._extents(),
            waiting=[
                self._waiting(self._blocks[block], found)
                for block, found in sorted(self._dependencies.items())
                if block in self._blocks
            ],
            attempts=[
                AttemptPlace(row, self._blocks[block].spec, self._blocks[block].items)
                for (block, _), row in sorted(self._attempts.items())
                if block in self._blocks
            ],
            holds=[row for call, row in self._sorted_holds() if self._is_known(call)],
            released=sorted(
                {
                    (call, row.holder)
                    for call, row in self._sorted_holds()
                    if not self._is_known(call)
                }
            ),
        )

    def _sorted_holds(self) -> list[tuple[int, HoldRow]]:
        return [(call, row) for call, rows in sorted(self._holds.items()) for row in rows]

    def _lost_holds(self) -> list[tuple[int, HoldRow]]:
        return [(call, row) for call, row in self._sorted_holds() if not self._is_known(call)]

    def _is_known(self, call: int) -> bool:
        return self._block_of(call) is not None or bool(self._runs_of(call))

    def _waiting(self, row: BlockRow, upstreams: dict[int, int]) -> WaitingRow:
        left = row.size - self._done.get(row.id, Ranges()).count
        order = tuple(upstreams[at] for at in sorted(upstreams))
        return WaitingRow(row.id, row.spec, row.items, row.size, left, order)

    def _has_blocks(self, session: int) -> bool:
        return any(block >> 40 == session for block in self._block_ids)

    def _extents(self) -> list[LaneExtent]:
        lanes: dict[tuple[int, int], list[BlockRow]] = {}
        for block_id in self._block_ids:
            row = self._blocks[block_id]
            if not row.needs:
                lanes.setdefault((block_id >> 40, row.spec), []).append(row)
        mask = stored_id(1, 0) - 1
        return [
            LaneExtent(
                *key,
                rows[0].id & mask,
                (rows[-1].id & mask) + rows[-1].calls - 1,
                sum(row.size - self._done.get(row.id, Ranges()).count for row in rows),
            )
            for key, rows in sorted(lanes.items())
        ]

    async def function(self, digest: bytes) -> Function | None:
        """A function's code."""
        return self._functions.get(digest)

    async def functions(self, project: str) -> list[Function]:
        """Those of a project, without their code."""
        used = {
            row.spec.function
            for row in self._specs.values()
            if self._sessions[row.session].project == project
        }
        found = [replace(each, code=b"") for key, each in self._functions.items() if key in used]
        return sorted(found, key=lambda each: (each.name, each.digest))

    async def session(
        self, *, key: bytes = b"", name: str = "", number: int = 0
    ) -> SessionRow | None:
        """A session by one of these."""
        for row in self._sessions.values():
            if (key and row.key == key) or (name and row.name == name) or row.number == number:
                return row
        return None

    async def spec(self, session: int, number: int) -> SpecRow | None:
        """A specification."""
        return self._specs.get((session, number))

    async def group(self, group_id: int) -> GroupRow | None:
        """A group."""
        return self._groups.get(group_id)

    async def groups(
        self, project: str, before: tuple[float, int] | None, limit: int
    ) -> list[GroupRow]:
        """Newest first."""
        rows = sorted(
            (row for row in self._groups.values() if row.project == project),
            key=lambda row: (row.created_at, row.id),
            reverse=True,
        )
        return [row for row in rows if before is None or (row.created_at, row.id) < before][:limit]

    async def results(self, query: ResultQuery) -> list[ResultRow]:
        """Results after a number, in order."""
        found: list[ResultRow] = []
        calls = size = 0
        for row in sorted(self._matching(query), key=lambda row: row.id):
            if calls >= query.calls or size >= query.value_bytes:
                break
            found.append(row)
            calls += len(row.statuses)
            size += sum(map(len, row.values))
        return found

    def _matching(self, query: ResultQuery) -> list[ResultRow]:
        after = stored_id(query.session, query.after)
        rows = [row for row in self._results.values() if row.id > after]
        if query.call:
            of_call = [row for row in self._runs_of(query.call) if row.id > after]
            return [_cut_out(row, query.call) for row in of_call]
        if query.group:
            return [row for row in rows if row.group == query.group]
        return [row for row in rows if row.session == query.session]

    async def block(self, call: int) -> BlockRow | None:
        """The block that holds a call which has not ended."""
        row = self._block_of(call)
        if row is not None:
            row.attempts = [each for _, each in sorted(self._attempts.items())]
            row.attempts = [each for each in row.attempts if each.block == row.id]
        return row

    async def outputs(self, query: OutputQuery) -> list[tuple[int, OutputRow]]:
        """What was printed."""
        found = [
            (number, row)
            for number, row in self._outputs
            if number > query.after
            and (row.call == query.call if query.call else row.group == query.group)
        ]
        return found[: query.limit]

    async def events(self, query: EventQuery) -> list[tuple[int, CallEventRow | PoolEventRow]]:
        """What became of a call or pool."""
        found: list[tuple[int, CallEventRow | PoolEventRow]] = []
        if query.pool:
            found += [each for each in self._pool_events if each[1].pool == query.pool]
        elif query.call:
            found += [each for each in self._call_events if each[1].call == query.call]
        else:
            found += [each for each in self._call_events if each[1].group == query.group]
        return [each for each in found if each[0] > query.after][: query.limit]

    async def prune(self, before: float, limit: int) -> Pruned:
        """Remove some of what is older."""
        pruned = Pruned()
        old = [row for row in self._groups.values() if (row.ended_at or before) < before]
        for group in old[:limit]:
            for row in [row for row in self._results.values() if row.group == group.id]:
                pruned.released += self._drop(row)
                pruned.removed += 1
            del self._groups[group.id]
            pruned.removed += 1
        left = [row for row in self._sessions.values() if row.seen_at < before]
        for session in left[: max(limit - pruned.removed, 0)]:
            if not self._has_blocks(session.number):
                self._drop_session(session.number, pruned)
        self._drop_named(before, limit, pruned)
        self._pool_events = [each for each in self._pool_events if each[1].at >= before]
        if pruned.removed:
            self._drop_unused_functions(before)
        return pruned

    def _drop_named(self, before: float, limit: int, pruned: Pruned) -> None:
        named = [row for row in self._results.values() if row.group == stored_id(row.session, 0)]
        old = [row for row in named if row.ended_at < before]
        for row in old[: max(limit - pruned.removed, 0)]:
            pruned.released += self._drop(row)
            pruned.removed += 1

    def _drop_session(self, session: int, pruned: Pruned) -> None:
        for row in [row for row in self._results.values() if row.session == session]:
            pruned.released += self._drop(row)
        for group in [key for key in self._groups if key >> 40 == session]:
            del self._groups[group]
        for key in [key for key in self._specs if key[0] == session]:
            del self._specs[key]
        del self._sessions[session]
        pruned.removed += 1

    def _drop_unused_functions(self, before: float) -> None:
        used = {row.spec.function for row in self._specs.values()}
        for digest in [key for key in self._functions if key not in used]:
            if self._stored_at[digest] < before:
                del self._functions[digest]


def _after(numbered: Sequence[tuple[int, object]]) -> int:
    """The number of the next one."""
    return numbered[-1][0] + 1 if numbered else 1


def _is_pinned(changes: Changes, row: ResultRow) -> bool:
    first = stored_id(row.session, row.first)
    return any(first <= call < first + row.calls for call in changes.pinned)


def _cut_out(row: ResultRow, call: int) -> ResultRow:
    """A plain call's result out of its run."""
    if row.items:
        return row
    at = call - stored_id(row.session, row.first)
    return replace(
        row,
        first=row.first + at,
        statuses=row.statuses[at : at + 1],
        values=[row.values[at]],
        offset=row.offset + at,
    )
