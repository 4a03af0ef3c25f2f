"""What a session has to say: calls and definitions, in order, kept until the platform has them.

Any thread puts; one thread at a time takes messages. A call has its number from the moment it is
put. Its frame is kept until it is acknowledged (it is on the platform's disk then) and is sent
again on a new stream. Nothing here waits for a timer: a lone call leaves at once, a flood is packed
because it is a flood.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from dataclasses import field
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from gridloom.api.functions.v1 import session_pb2
from gridloom.payload import SHARED
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gridloom.calls.future import CallFuture

FRAME_CALLS = 4096
FRAME_BYTES = 1_000_000
# Until the service has named its own.
WINDOW_CALLS = 65_536
WINDOW_BYTES = 64 * 1024 * 1024


class Sink(Protocol):
    """Where the results of one call go."""

    _sequence: int

    def deliver(self, status: int, value: bytes) -> bool:
        """Take what the whole call (or what is left of it) came to."""

    def fail(self, error: BaseException) -> bool:
        """End it with an error of the client's own."""


class Extras(NamedTuple):
    """What most calls do not have."""

    items: int = 0
    dependencies: tuple[CallFuture[Any], ...] = ()
    objects: tuple[str, ...] = ()

    @property
    def is_shared(self) -> bool:
        """Whether some of it is in shared memory, where it stays until the result is confirmed."""
        return any(name.startswith(SHARED) for name in self.objects)


# A call that waits to be sent: number of its spec, its arguments' envelope, extras.
_Item = tuple[int, bytes, Extras | None]


class Control(NamedTuple):
    """Something other than a call, added to the message in which its turn comes."""

    add_to: Callable[[session_pb2.OpenSessionRequest], None]


class _Sent(NamedTuple):
    last: int
    size_bytes: int
    frame: session_pb2.Frame


class _Confirmation(NamedTuple):
    result: int
    call: int


@dataclass
class Spoken:
    """What was said besides calls, to be said again on a new stream."""

    functions: dict[bytes, session_pb2.FunctionDefinition] = field(default_factory=dict)
    specs: dict[int, session_pb2.CallSpec] = field(default_factory=dict)
    groups: dict[int, session_pb2.GroupDefinition] = field(default_factory=dict)
    # Sealed groups, with the number of the last call at that time.
    seals: dict[int, int] = field(default_factory=dict)
    # Cancelling twice does no harm; what is forgotten here runs for nothing.
    cancels: deque[session_pb2.CallCancel] = field(default_factory=lambda: deque(maxlen=1000))

    def before_frames(self) -> list[session_pb2.OpenSessionRequest]:
        """What frames refer to, in messages of a moderate size."""
        messages = [session_pb2.OpenSessionRequest()]
        for function in list(self.functions.values()):
            if messages[-1].ByteSize() >= FRAME_BYTES:
                messages.append(session_pb2.OpenSessionRequest())
            messages[-1].functions.append(function)
        specs, groups = list(self.specs.values()), list(self.groups.values())
        for first in range(0, max(len(specs), len(groups)), FRAME_CALLS):
            part = slice(first, first + FRAME_CALLS)
            message = session_pb2.OpenSessionRequest(specs=specs[part], groups=groups[part])
            messages.append(message)
        return messages

    def after_frames(self, packed: int) -> session_pb2.OpenSessionRequest:
        """What refers to frames, whose calls are those up to the number `packed`.

        Seals of groups that have calls behind it are still waiting themselves, behind those calls:
        said before them, they would end the group without them.
        """
        seals = [
            session_pb2.GroupSeal(number=number)
            for number, last in list(self.seals.items())
            if last <= packed
        ]
        return session_pb2.OpenSessionRequest(seals=seals, cancels=list(self.cancels))

    def forget(self, acknowledged: int) -> None:
        """Drop groups that were sealed before a call that is on disk: so is all that was theirs."""
        over = {group for group, last in list(self.seals.items()) if last < acknowledged}
        for group in over:
            del self.seals[group]
            self.groups.pop(group, None)
        if over:
            for number in [n for n, spec in list(self.specs.items()) if spec.group in over]:
                del self.specs[number]


class Outbox:
    """The sending half of a session. Knows neither threads of its own nor gRPC."""

    def __init__(self, session: str) -> None:
        self._session = session
        self.pending: dict[int, Sink] = {}
        self.sharing: set[int] = set()
        """Calls with arguments in shared memory whose results are not here."""
        self.spoken = Spoken()
        self._window_calls = WINDOW_CALLS
        self._window_bytes = WINDOW_BYTES
        self._limit = WINDOW_CALLS  # the number of the last call that may be put now
        self._queue: queue.SimpleQueue[_Item | Control] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._room_callbacks: list[Callable[[], None]] = []
        self._last = 0  # number of the last call put
        self._unacknowledged_bytes = 0
        self._acknowledged = 0
        self._processed = 0  # highest result number that was delivered
        self._error: BaseException | None = None
        # Of the one who takes.
        self._packed = 0  # number of the last call that was packed into a frame
        self._sent: deque[_Sent] = deque()
        self._confirmable = _Confirmation(0, 0)
        self._confirmed = 0
        self._confirmations: deque[_Confirmation] = deque()
        self._confirmed_for_good = 0
        # Held by the stream that takes.
        self.taking = threading.Lock()
        # Threads that must never wait for room: they make it.
        self.makers_of_room: set[int] = set()

    # ---- putting

    @property
    def acknowledged(self) -> int:
        """Every call up to this number is on the platform's disk."""
        return self._acknowledged

    @property
    def error(self) -> BaseException | None:
        """What every later call is refused with, and what was not accepted then."""
        return self._error

    @property
    def last(self) -> int:
        """The number of the last call that was put."""
        return self._last

    def put(self, spec: int, arguments: bytes, sink: Sink, extras: Extras | None = None) -> bool:
        """Send a call; its results go to `sink`. Waits while the window is full.

        False, and nothing is sent, where one of its dependencies has ended meanwhile: its result
        may be gone from the platform, and must be sent along.
        """
        with self._lock:
            if self._last >= self._limit or self._unacknowledged_bytes > self._window_bytes:
                self._wait_for_room()
            if extras is not None and any(one.is_over for one in extras.dependencies):
                return False
            self._last = number = self._last + 1
            self._unacknowledged_bytes += len(arguments)
            sink._sequence = number  # noqa: SLF001  # given once, here
            self.pending[number] = sink
            if extras is not None and extras.is_shared:
                self.sharing.add(number)
            self._queue.put((spec, arguments, extras))
        return True

    def control(self, add_to: Callable[[session_pb2.OpenSessionRequest], None]) -> None:
        """Say something else, after the calls that were put before."""
        self._queue.put(Control(add_to))

    def wake(self) -> None:
        """Make a thread that takes look again whether it still should."""
        self._queue.put(Control(_nothing))

    def has_room(self, callback: Callable[[], None]) -> bool:
        """Whether a call can be put without waiting; if not, `callback` runs once it may be."""
        with self._lock:
            if self._error is not None or not self._is_full():
                return True
            self._room_callbacks.append(callback)
            return False

    def _is_full(self) -> bool:
        return self._last >= self._limit or self._unacknowledged_bytes > self._window_bytes

    def set_window(self, *, calls: int = 0, size_bytes: int = 0) -> None:
        """How much may be put that is not acknowledged; 0: as it was."""
        with self._lock:
            self._window_calls = calls or self._window_calls
            self._window_bytes = size_bytes or self._window_bytes
            if self._error is None:
                self._limit = self._acknowledged + self._window_calls
        self._tell_of_room()

    def _wait_for_room(self) -> None:
        if threading.get_ident() not in self.makers_of_room:
            self._room.wait_for(lambda: not self._is_full() or self._error is not None)
        if self._error is not None:
            raise self._error

    def close(self, error: BaseException) -> None:
        """Refuse every later call with `error`."""
        with self._lock:
            self._error = error
            self._limit = -1
        self._tell_of_room()

    def refuse_unacknowledged(self, error: BaseException) -> list[Sink]:
        """As `close`, and what is not on the platform's disk is never sent (again): whose it was.

        Groups of such calls are not sealed: they are not complete.
        """
        self.close(error)
        # No stream may be open: a thread of the last one may be about to leave.
        with self.taking, self._lock:
            self._sent.clear()
            while not self._queue.empty():
                self._queue.get_nowait()
            self._packed = self._last
            for group, last in list(self.spoken.seals.items()):
                if last > self._acknowledged:
                    del self.spoken.seals[group]
            refused = [number for number in self.pending if number > self._acknowledged]
            return [self.pending.pop(number) for number in refused]

    def _tell_of_room(self) -> None:
        with self._lock:
            callbacks, self._room_callbacks = self._room_callbacks, []
            self._room.notify_all()
        for callback in callbacks:
            callback()

    def wait_acknowledged(self, number: int, timeout: float | None = None) -> bool:
        """Wait until the call with this number is on the platform's disk; False: it is not."""
        with self._lock:
            self._room.wait_for(
                lambda: self._acknowledged >= number or self._error is not None, timeout
            )
            return self._acknowledged >= number

    # ---- what the platform said

    def acknowledge(self, number: int) -> None:
        """Calls up to `number` are on the platform's disk: their frames may go."""
        freed = 0
        while self._sent and self._sent[0].last <= number:
            freed += self._sent.popleft().size_bytes
        with self._lock:
            self._acknowledged = max(self._acknowledged, number)
            if self._error is None:
                self._limit = self._acknowledged + self._window_calls
            self._unacknowledged_bytes -= freed
        self._forget(number)
        self._tell_of_room()

    def processed(self, result_number: int) -> None:
        """Results up to this number were delivered; the platform is told with the next message."""
        with self._lock:
            self._processed = max(self._processed, result_number)

    def _forget(self, acknowledged: int) -> None:
        while self._confirmations and self._confirmations[0].call <= acknowledged:
            self._confirmed_for_good = self._confirmations.popleft().result
        if self.spoken.seals:
            self.spoken.forget(acknowledged)

    # ---- taking

    @property
    def is_empty(self) -> bool:
        """Nothing waits to be sent."""
        return self._queue.empty()

    @property
    def confirmed_for_good(self) -> int:
        """The result number for a new stream's hello: frames to be sent again need later ones."""
        return self._confirmed_for_good

    def unacknowledged(self) -> list[session_pb2.OpenSessionRequest]:
        """What a new stream must be told before anything new, in order."""
        frames = [sent.frame for sent in list(self._sent)]
        again = [session_pb2.OpenSessionRequest(frames=[frame]) for frame in frames]
        return [*self.spoken.before_frames(), *again, self.spoken.after_frames(self._packed)]

    def take(self) -> session_pb2.OpenSessionRequest:
        """The next message; waits for something to say."""
        items, message = self._drain(self._queue.get())
        frames = list(self._frames(items))
        message.frames.extend(sent.frame for sent in frames)
        self._sent.extend(frames)
        self._confirm(message)
        return message

    def _drain(self, first: _Item | Control) -> tuple[list[_Item], session_pb2.OpenSessionRequest]:
        """What is waiting now, up to one frame's worth of calls."""
        self._note_confirmable()
        message = session_pb2.OpenSessionRequest()
        items: list[_Item] = []
        left, size, item = self._queue.qsize(), 0, first
        while True:
            if isinstance(item, Control):
                item.add_to(message)
            else:
                items.append(item)
                size += len(item[1])
            if not left or len(items) >= FRAME_CALLS or size >= FRAME_BYTES:
                return items, message
            left -= 1
            item = self._queue.get()

    def _frames(self, items: Iterable[_Item]) -> Iterable[_Sent]:
        for (spec, _), run in groupby(items, _frame_of):
            calls = list(run)
            frame = session_pb2.Frame(
                first_sequence=self._packed + 1, spec=spec, arguments=[call[1] for call in calls]
            )
            if any(call[2] for call in calls):
                self._add_extras(frame, [call[2] or _NO_EXTRAS for call in calls])
            self._packed += len(calls)
            yield _Sent(self._packed, sum(len(call[1]) for call in calls), frame)

    def _add_extras(self, frame: session_pb2.Frame, extras: list[Extras]) -> None:
        if extras[0].items:
            frame.items.extend(extra.items for extra in extras)
        for position, extra in enumerate(extras):
            if extra.dependencies:
                calls = [self._call_id(future) for future in extra.dependencies]
                frame.dependencies.add(position=position, calls=calls)
            if extra.objects:
                frame.objects.add(position=position, digests=extra.objects)

    def _call_id(self, future: CallFuture[Any]) -> session_pb2.CallId:
        name, number = future.address
        return session_pb2.CallId(session="" if name == self._session else name, sequence=number)

    # A result may be confirmed when every call is on its way that was put before the result came:
    # such a call may depend on it. So the two numbers are read at one moment, and the result is
    # confirmed with the message that holds the call, or a later one.

    def _note_confirmable(self) -> None:
        if self._confirmable.result == self._confirmed:
            with self._lock:
                self._confirmable = _Confirmation(self._processed, self._last)

    def _confirm(self, message: session_pb2.OpenSessionRequest) -> None:
        found = self._confirmable
        if found.result > self._confirmed and found.call <= self._packed:
            message.confirmed = self._confirmed = found.result
            self._confirmations.append(found)


_NO_EXTRAS = Extras()


def _frame_of(item: _Item) -> tuple[int, bool]:
    """Calls that may share a frame: of one spec, all of them chunks or none."""
    spec, _, extras = item
    return spec, extras is not None and extras.items > 0


def _nothing(message: session_pb2.OpenSessionRequest) -> None:
    del message
