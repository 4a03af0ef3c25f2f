"""What a worker is at, in memory that its host sees: also when the worker hangs or is dead.

Each field is one aligned store of eight bytes, so that nothing is ever half written. A place is
written before its call begins and taken back after it has ended: whoever finds one in the memory of
a dead worker knows what it died in.
"""

from __future__ import annotations

import mmap
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# The fields of a slot.
BATCH = 0
PLACE = 1  # unit << 32 | item, and 1 more; 0: in no call
DEADLINE = 2  # of the item, by the monotonic clock in nanoseconds; 0: none
KILL_AT = 3  # the worker asks to be killed then if it is still in the same place; 0: never
INTERRUPT = 4  # the place that is to be interrupted, as in PLACE ...
INTERRUPT_BATCH = 5  # ... and its batch, which is written before it
BLOCKED = 6  # the call waits for other calls
SLOT_WORDS = 8

# The fields of the worker, before its slots.
READY = 0  # the hello was sent
RETIRE = 1  # by the host: end when nothing is held
CAPTURING = 2  # output is being captured
HOARDING = 3  # results may lie in the worker while a later call of its batch runs
SENT_OUT = 4  # bytes of the captured standard output that were sent
SENT_ERR = 5
HEADER_WORDS = 8

_WORD_BYTES = 8
NEVER = (1 << 63) - 1

# The clock of all times in a board.
now_ns = time.monotonic_ns


class Place(NamedTuple):
    """Where a worker is: a batch, a unit of it, an item of that."""

    batch: int
    unit: int
    item: int


def encode_place(unit: int, item: int = 0) -> int:
    """The word for a unit and an item of it. That of the next item is greater by 1."""
    return (unit << 32 | item) + 1


def decode_place(word: int) -> tuple[int, int]:
    """Unit and item of a word that is not 0."""
    return (word - 1) >> 32, (word - 1) & 0xFFFFFFFF


def _words(count: int) -> memoryview:
    memory = mmap.mmap(-1, count * _WORD_BYTES)
    return memoryview(memory).cast("Q")


class Board:
    """A worker's memory: a header and its slots. Made by the host, inherited by the worker."""

    def __init__(self, slots: int = 1) -> None:
        self.words = _words(HEADER_WORDS + slots * SLOT_WORDS)
        self.header = self.words[:HEADER_WORDS]
        self.slots = [self._slot(number) for number in range(slots)]

    def _slot(self, number: int) -> memoryview:
        start = HEADER_WORDS + number * SLOT_WORDS
        return self.words[start : start + SLOT_WORDS]

    def places(self) -> Iterator[tuple[Place, memoryview]]:
        """Every place that is in work, with its slot's memory."""
        for slot in self.slots:
            word = slot[PLACE]
            if word:
                yield Place(slot[BATCH], *decode_place(word)), slot

    @property
    def is_busy(self) -> bool:
        """Whether any slot is in a call."""
        return any(slot[PLACE] for slot in self.slots)

    @property
    def blocked(self) -> int:
        """How many slots wait for other calls."""
        return sum(1 for slot in self.slots if slot[BLOCKED])

    def detach(self) -> None:
        """Make the memory this process's own: a forked child must not write its parent's place."""
        _make_private(self.words)


class Alarm:
    """Says when the host looks next. Who needs it earlier rings."""

    def __init__(self) -> None:
        self._words = _words(SLOT_WORDS)
        self._words[0] = NEVER

    @property
    def wakes_at_ns(self) -> int:
        """When the host looks next."""
        return self._words[0]

    @wakes_at_ns.setter
    def wakes_at_ns(self, moment: int) -> None:
        self._words[0] = moment


def _make_private(words: memoryview) -> None:
    """Put fresh memory of this process alone in the place of shared memory."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    address = ctypes.addressof(ctypes.c_char.from_buffer(words))
    protection, fixed = mmap.PROT_READ | mmap.PROT_WRITE, 0x10
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | fixed
    place = ctypes.c_void_p(address), ctypes.c_size_t(words.nbytes)
    libc.mmap(*place, protection, flags, -1, ctypes.c_long(0))
