"""What clients send: definitions and calls, checked and taken in.

A call that cannot be is not an error of the stream: it is accepted and answered as refused, so that
its future, and nobody else's, has the error.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from gridloom.values import dataclass

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.functions import failures
from gridloom_services.functions.call import CallSpec, split_stored_id, stored_id
from gridloom_services.functions.dependencies import waiting_for
from gridloom_services.functions.dispatch import Block, Lane
from gridloom_services.functions.groups import Group
from gridloom_services.functions.session import Refusal
from gridloom_services.functions.store.rows import GroupRow, HoldRow, SpecRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gridloom_services.functions.call import Failure, Function
    from gridloom_services.functions.dependencies import Dependencies
    from gridloom_services.functions.dispatch import Held
    from gridloom_services.functions.functions import FunctionTable
    from gridloom_services.functions.ledger import Ledger
    from gridloom_services.functions.recalling import Recalling
    from gridloom_services.functions.session import Session

MOST_RETRIES = 1000
BLOCK_BYTES = 256 << 10
"""A block of plain calls is cut at about this size: a single call of it is read with the rest."""


@dataclass(slots=True)
class Frame:
    """Calls with consecutive sequence numbers under one specification.

    `items`: empty, or the size of each call's chunk. `needs` and `objects` are by position: stored
    ids (None: no such session is known) and digests.
    """

    first: int
    spec: int
    arguments: list[bytes]
    items: Sequence[int] = ()
    needs: dict[int, tuple[int | None, ...]] = field(default_factory=dict)
    objects: dict[int, tuple[str, ...]] = field(default_factory=dict)


class Places(Protocol):
    """Knows the pools."""

    def refusal(self, pool_id: str, python: str) -> Failure | None:
        """Why calls of a client of this Python cannot go to a pool, if so."""


class Intake:
    """Takes in what one session after the other sends."""

    def __init__(
        self,
        held: Held,
        ledger: Ledger,
        recalling: Recalling,
        dependencies: Dependencies,
        places: Places,
        encode: Callable[[Failure], bytes],
        clock: Callable[[], float],
    ) -> None:
        self._held = held
        self._ledger = ledger
        self._recalling = recalling
        self._dependencies = dependencies
        self._places = places
        self._encode = encode
        self._clock = clock
        self.functions: FunctionTable
        self.accepted_items = 0

    # ---- definitions

    def define_function(self, function: Function) -> None:
        """A function's code."""
        self.functions.define(function)
        self._store_function(function.digest)

    def define_spec(self, session: Session, spec: CallSpec) -> None:
        """A specification whose pool is known. What was defined before under its number stays."""
        if spec.number in session.specs:
            return
        failure = self._places.refusal(spec.pool_id, session.python) or _unusable(spec)
        if failure is not None:
            self.refuse_spec(session, spec.number, failure, spec.group)
            return
        session.refused.pop(spec.number, None)
        session.specs[spec.number] = spec
        self._store_function(spec.function)
        self._ledger.changes.specs.append(SpecRow(session.number, spec))
        group = session.groups.get(spec.group)
        if group is not None and not group.function:
            group.function = self.functions.name(spec.function)

    def _store_function(self, digest: bytes) -> None:
        now = self._clock()
        function = self.functions.to_store(digest, now)
        if function is not None:
            self._ledger.changes.functions.append((function, now))

    @staticmethod
    def refuse_spec(session: Session, number: int, failure: Failure, group: int) -> None:
        """A specification that cannot be: its calls will be answered so."""
        session.refused[number] = Refusal(failure, group)

    def define_group(self, session: Session, number: int, name: str, kind: str) -> None:
        """A group that is not known yet."""
        group = Group(
            GroupRow(
                *(stored_id(session.number, number), name, kind, session.project, "", 0, 0, 0, 0),
                sealed=False,
                created_at=self._clock(),
                ended_at=None,
            )
        )
        session.groups[number] = group
        self._ledger.touch_group(group)

    def seal(self, session: Session, group: Group) -> None:
        """No more calls come in a group."""
        if not group.sealed:
            group.seal(self._clock())
            self._ledger.touch_group(group)
            self._ledger.touch(session)

    # ---- calls

    def accept(self, session: Session, frame: Frame) -> None:
        """Take in what of a frame is new. InvalidRequestError where calls are left out before it.

        What was taken in before (the client sent it again after its stream broke) is dropped.
        """
        known = session.accepted + 1 - frame.first
        if known < 0:
            raise InvalidRequestError(
                f"call {frame.first} was sent after call {session.accepted}: those between are"
                " missing",
                field="frames.first_sequence",
                given=frame.first,
                allowed=session.accepted + 1,
            )
        if known >= len(frame.arguments):
            return
        if known:
            frame = _without_known(frame, known)
        lane = self._lane(session, frame.spec)
        if lane is None:
            self._refuse(session, frame)
        else:
            self._add(session, lane, frame)

    def _refuse(self, session: Session, frame: Frame) -> None:
        refusal = session.refused.get(frame.spec)
        if refusal is None:
            failure = failures.refused(
                "InvalidRequestError", f"specification {frame.spec} was not defined", field="spec"
            )
            refusal = Refusal(failure)
        items = frame.items or [0] * len(frame.arguments)
        value = self._encode(refusal.failure)
        self._ledger.refuse(session, frame.first, items, refusal.group, value)

    def _lane(self, session: Session, number: int) -> Lane | None:
        """Where calls of a specification wait; None: they are refused."""
        lane = session.lanes.get(number)
        spec = session.specs.get(number) if lane is None else lane.spec
        if spec is None:
            return None
        failure = self._places.refusal(spec.pool_id, session.python)
        if failure is not None:
            self.refuse_spec(session, number, failure, spec.group)
            return None
        if spec.group and (failure := _closed(session, spec.group)) is not None:
            self.refuse_spec(session, number, failure, 0)
            return None
        return lane or self.make_lane(session, spec)

    def make_lane(self, session: Session, spec: CallSpec) -> Lane:
        """A new lane of a session; its code is fetched."""
        estimate = self._held.estimate(spec.function)
        lane = Lane(session.number, session.name, spec, estimate)
        session.lanes[spec.number] = lane
        self.functions.provide(lane)
        return lane

    def _add(self, session: Session, lane: Lane, frame: Frame) -> None:
        special = {*frame.needs, *frame.objects}
        if frame.items:
            special.update(range(len(frame.arguments)))
        start = 0
        for position in sorted(special):
            self._add_plain(session, lane, frame, start, position)
            self._add_special(session, lane, frame, position)
            start = position + 1
        self._add_plain(session, lane, frame, start, len(frame.arguments))

    def _add_plain(self, session: Session, lane: Lane, frame: Frame, start: int, stop: int) -> None:
        """Calls that have nothing but arguments."""
        for first, last in _blocks(frame.arguments, start, stop):
            arguments = frame.arguments[first:last]
            self._keep(session, Block(lane, frame.first + first, arguments))

    def _add_special(self, session: Session, lane: Lane, frame: Frame, position: int) -> None:
        """A chunk, a call that needs others, or one that refers to objects."""
        items = frame.items[position] if frame.items else 0
        block = Block(lane, frame.first + position, [frame.arguments[position]], items=items)
        needs = frame.needs.get(position, ())
        known = tuple(call for call in needs if call is not None and _is_earlier(call, block))
        if len(known) < len(needs):
            failure = failures.unknown_dependency("a call that was not sent before it")
            value = self._encode(failure)
            self._ledger.refuse(session, block.first, [items], lane.spec.group, value)
            return
        block.needs = known
        digests = frame.objects.get(position)
        if digests:
            self._hold(session, lane, block, digests)
        self._keep(session, block)

    def _keep(self, session: Session, block: Block) -> None:
        lane = block.lane
        group = session.groups.get(lane.spec.group)
        if group is not None:
            block.offset = group.admit(block.size)
            self._ledger.touch_group(group)
        self.accepted_items += block.size
        fits = not block.needs and self._recalling.has_room(lane, block.calls, block.bytes)
        self._ledger.accept(session, block)
        if block.needs:
            self._ledger.add_dependencies(block)
            chunked = bool(block.items)
            waiting = waiting_for(lane, block.id, block.size, block.needs, chunked=chunked)
            self._dependencies.add(block.id, waiting)
            self._recalling.resolve(block.id)
        elif fits:
            self._held.add(block)
        else:
            lane.spill.add(block.first, block.first + block.calls - 1, block.size)
            self._held.enter(lane)

    def _hold(self, session: Session, lane: Lane, block: Block, digests: tuple[str, ...]) -> None:
        session.has_holds = True
        row = HoldRow(block.id, holder_of(session, lane, block.first), digests)
        self._ledger.changes.holds.append(row)


def holder_of(session: Session, lane: Lane, sequence: int) -> str:
    """In whose name objects are held: a group's, while it is kept, or a single call's.

    What is not durable is kept for its client only, in a group too: it lies in memory.
    """
    if lane.spec.group and not lane.spec.not_durable:
        return f"group_{session.name}_{lane.spec.group}"
    return f"call_{session.name}_{sequence}"


def _closed(session: Session, number: int) -> Failure | None:
    """Why a group takes no calls: a client says itself that no more come."""
    group = session.groups.get(number)
    if group is not None and not group.sealed:
        return None
    why = "was not defined, or is over" if group is None else "was sealed: no more calls come in it"
    return failures.refused(
        "InvalidRequestError",
        f"group {number} {why}",
        field="group",
        given=str(number),
        allowed=", ".join(str(n) for n, one in session.groups.items() if not one.sealed)
        or "none is open",
    )


def _unusable(spec: CallSpec) -> Failure | None:
    """What of a specification is out of bounds."""
    retries = spec.retries
    for name in ("error", "worker_died", "timeout", "out_of_memory"):
        if getattr(retries, name) > MOST_RETRIES:
            return failures.refused(
                "InvalidRequestError",
                f"retries.{name} is {getattr(retries, name)}; the most is {MOST_RETRIES}",
                field=f"retries.{name}",
                given=str(getattr(retries, name)),
                allowed=f"0 to {MOST_RETRIES}",
            )
    if spec.at_most_once and (retries.error or retries.timeout or retries.out_of_memory):
        return failures.refused(
            "InvalidRequestError",
            "retries contradict at_most_once: such a call is never run again",
            field="retries",
        )
    return None


def _is_earlier(call: int, block: Block) -> bool:
    """Whether a call of the same session was sent before the block; of another one: always."""
    return split_stored_id(call)[0] != block.lane.session or call < block.id


def _blocks(arguments: list[bytes], start: int, stop: int) -> list[tuple[int, int]]:
    """Where plain calls are cut into blocks."""
    if start >= stop:
        return []
    if sum(map(len, arguments[start:stop])) <= BLOCK_BYTES:
        return [(start, stop)]
    cuts, size, first = [], 0, start
    for index in range(start, stop):
        if index > first and size + len(arguments[index]) > BLOCK_BYTES:
            cuts.append((first, index))
            first, size = index, 0
        size += len(arguments[index])
    return [*cuts, (first, stop)]


def _without_known(frame: Frame, known: int) -> Frame:
    """The frame without its first calls."""
    return Frame(
        frame.first + known,
        frame.spec,
        frame.arguments[known:],
        frame.items[known:],
        {at - known: calls for at, calls in frame.needs.items() if at >= known},
        {at - known: digests for at, digests in frame.objects.items() if at >= known},
    )
