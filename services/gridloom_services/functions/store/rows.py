"""What the store keeps, as values; what goes in with a commit, and what is read with one."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.functions.call import NO_ATTEMPTS, Attempts, Status, stored_id

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gridloom_services.functions.call import CallSpec, Function
    from gridloom_services.functions.ranges import Ranges


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A client's session. `confirmed`: results up to this number were processed by its client."""

    number: int
    key: bytes
    name: str
    project: str
    owner: str
    python: str
    last_sequence: int = 0
    result_number: int = 0
    confirmed: int = 0
    created_at: float = 0.0
    seen_at: float = 0.0


@dataclass(frozen=True, slots=True)
class SpecRow:
    """A specification of a session."""

    session: int
    spec: CallSpec


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group, under the stored id of session and group number. Counts are of items."""

    id: int
    name: str
    kind: str
    project: str
    function: str
    accepted: int
    succeeded: int
    failed: int
    cancelled: int
    sealed: bool
    created_at: float
    ended_at: float | None

    @property
    def finished(self) -> int:
        """Items that have their result."""
        return self.succeeded + self.failed + self.cancelled


@dataclass(slots=True)
class BlockRow:
    """Consecutive plain calls, or one chunk of `items` items, that have not all ended.

    `needs` is the number of calls that it waits for. `done` and `attempts` are filled in when it is
    read, `inputs` when it was recalled: a list of parts for each call that it needed.
    """

    id: int
    spec: int
    items: int
    needs: int
    offset: int
    accepted_at: float
    arguments: list[bytes]
    done: Ranges | None = None
    attempts: Sequence[AttemptRow] = ()
    inputs: Sequence[InputRow] = ()

    @property
    def calls(self) -> int:
        """How many sequence numbers it covers."""
        return 1 if self.items else len(self.arguments)

    @property
    def size(self) -> int:
        """Calls, or items of the chunk."""
        return self.items or len(self.arguments)


@dataclass(frozen=True, slots=True)
class InputRow:
    """What a call returned that another one waits for: its envelopes in the order of its items."""

    parts: tuple[bytes, ...]
    chunked: bool


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """What is known of the runs of a position, where it is not the first.

    `begun`: an at-most-once call was given to a worker.
    """

    block: int
    position: int
    attempts: Attempts = NO_ATTEMPTS
    isolated: bool = False
    begun: bool = False
    not_before: float = 0.0


@dataclass(slots=True)
class ResultRow:
    """Results of consecutive plain calls, or (with `items`: first and count) of part of a chunk."""

    session: int
    number: int
    first: int
    items: tuple[int, int] | None
    statuses: bytes
    values: Sequence[bytes]
    group: int
    offset: int
    ended_at: float
    accepted_at: float = 0.0

    @property
    def id(self) -> int:
        """Under which it is stored: results of a session are in order of their numbers."""
        return stored_id(self.session, self.number)

    @property
    def calls(self) -> int:
        """How many sequence numbers it covers."""
        return 1 if self.items else len(self.statuses)


@dataclass(frozen=True, slots=True)
class OutputRow:
    """Something that a call printed; `group` 0 where it is in none."""

    call: int
    group: int
    item: int
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CallEventRow:
    """A run of a call, or of an item of it, failed and is repeated; `group` 0: in none."""

    call: int
    group: int
    at: float
    item: int
    attempt: int
    """The run that comes next, from 1."""
    reason: str


@dataclass(frozen=True, slots=True)
class PoolEventRow:
    """A pool has come to this state, or to this job."""

    pool: str
    at: float
    state: int
    job_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class HoldRow:
    """Objects that `objects` keeps for a call (or for its group) under the name `holder`."""

    call: int
    holder: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A pool. `key` is empty for one that was made by name; `body` is its specification."""

    id: str
    key: str
    project: str
    owner: str
    request_id: str
    body: bytes
    state: int
    job_id: str
    generation: int
    created_at: float
    reason: str
    refusal: str = ""
    """The error that its calls are answered with, as JSON, where the scheduler refused its job."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Results of a session after `above` and up to `number` may go, but those of groups."""

    session: int
    above: int
    number: int
    has_outputs: bool = False
    has_holds: bool = False


@dataclass(slots=True)
class Changes:
    """What one commit writes, in this order."""

    new_sessions: list[SessionRow] = field(default_factory=list)
    functions: list[tuple[Function, float]] = field(default_factory=list)
    """With the time: a function that is not used is kept for a while from then."""
    specs: list[SpecRow] = field(default_factory=list)
    pools: list[PoolRow] = field(default_factory=list)
    groups: list[GroupRow] = field(default_factory=list)
    blocks: list[BlockRow] = field(default_factory=list)
    dependencies: list[tuple[int, int, int]] = field(default_factory=list)
    """Block, position in the order sent, stored id of the call that is waited for."""
    dependencies_over: list[int] = field(default_factory=list)
    holds: list[HoldRow] = field(default_factory=list)
    holds_over: list[int] = field(default_factory=list)
    results: list[ResultRow] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    progress: list[tuple[int, bytes]] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    attempts_over: list[tuple[int, int, int]] = field(default_factory=list)
    """Block, and the range of positions whose runs need no longer be remembered."""
    outputs: list[OutputRow] = field(default_factory=list)
    call_events: list[CallEventRow] = field(default_factory=list)
    pool_events: list[PoolEventRow] = field(default_factory=list)
    confirmed: list[Confirmation] = field(default_factory=list)
    pinned: Collection[int] = ()
    """Stored ids of calls whose results others wait for: these stay, confirmed or not."""
    unpinned: list[int] = field(default_factory=list)
    sessions: list[tuple[int, int, int, float, int]] = field(default_factory=list)
    """Last sequence number, last result number, confirmed, seen at; of session number."""

    def __bool__(self) -> bool:
        """Whether there is anything to write; what most commits have is looked at first."""
        return bool(self.results or self.sessions or self.blocks or self.finished) or self.is_rare

    @property
    def is_rare(self) -> bool:
        """Whether it has what most commits do not have."""
        return bool(
            self.new_sessions
            or self.functions
            or self.specs
            or self.pools
            or self.groups
            or self.dependencies
            or self.dependencies_over
            or self.holds
            or self.holds_over
            or self.attempts
            or self.attempts_over
            or self.outputs
            or self.call_events
            or self.pool_events
            or self.confirmed
            or self.unpinned
            or self.progress
        )


@dataclass(frozen=True, slots=True)
class Refill:
    """Blocks of a lane to read: of calls `first` to `last`, until there are `calls` of them."""

    session: int
    spec: int
    first: int
    last: int
    calls: int


@dataclass(slots=True)
class Reads:
    """What is read right after a commit, in the same transaction."""

    refills: list[Refill] = field(default_factory=list)
    recalls: list[tuple[int, bool]] = field(default_factory=list)
    """Ids of blocks, and whether what they needed is to be read with them."""
    blocked: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """Blocks with the calls that they wait for: where do those stand?"""

    def __bool__(self) -> bool:
        return bool(self.refills or self.recalls or self.blocked)


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a call stands that others wait for. `status` None: it has not ended.

    `status` REFUSED with an empty value: it is not known (any more).
    """

    call: int
    status: Status | None
    value: bytes = b""


@dataclass(slots=True)
class Found:
    """The answers to `Reads`, each in the order asked."""

    refills: list[tuple[list[BlockRow], bool]] = field(default_factory=list)
    """Rows, and whether the range holds no more."""
    recalls: list[BlockRow | None] = field(default_factory=list)
    blocked: list[tuple[int, list[Upstream]]] = field(default_factory=list)
    released: list[tuple[int, str]] = field(default_factory=list)
    """Call and holder of objects that nobody needs any more."""


@dataclass(slots=True)
class Recovered:
    """What a restart finds of what is unfinished. Other sessions are read when they come back."""

    next_session: int = 1
    sessions: list[SessionRow] = field(default_factory=list)
    specs: list[SpecRow] = field(default_factory=list)
    groups: list[GroupRow] = field(default_factory=list)
    pools: list[PoolRow] = field(default_factory=list)
    lanes: list[LaneExtent] = field(default_factory=list)
    waiting: list[WaitingRow] = field(default_factory=list)
    attempts: list[AttemptPlace] = field(default_factory=list)
    holds: list[HoldRow] = field(default_factory=list)
    released: list[tuple[int, str]] = field(default_factory=list)
    """Calls, and in whose name objects are held for them, of which nothing else is left."""


@dataclass(frozen=True, slots=True)
class AttemptPlace:
    """An attempt, and what its block is: its specification, and the items of its chunk."""

    row: AttemptRow
    spec: int
    items: int


@dataclass(frozen=True, slots=True)
class LaneExtent:
    """Unfinished calls of one specification that wait for nothing: first, last, positions left."""

    session: int
    spec: int
    first: int
    last: int
    positions: int


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A block that waited for other calls: its size, what of it has not ended, and those calls."""

    block: int
    spec: int
    items: int
    size: int
    left: int
    upstreams: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ResultQuery:
    """Results of a session, a group or a call, after a result number, in order."""

    session: int
    after: int
    group: int = 0
    call: int = 0
    calls: int = 4096
    value_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class OutputQuery:
    """What a call, or the calls of a group, printed: after a number, in order."""

    after: int
    call: int = 0
    group: int = 0
    limit: int = 256


@dataclass(frozen=True, slots=True)
class EventQuery:
    """What became of a call, of the calls of a group, or of a pool: after a number, in order."""

    after: int = 0
    call: int = 0
    group: int = 0
    pool: str = ""
    limit: int = 200


@dataclass(slots=True)
class Pruned:
    """How many groups and sessions were removed, and the objects that nobody needs any more."""

    removed: int = 0
    released: list[tuple[int, str]] = field(default_factory=list)
