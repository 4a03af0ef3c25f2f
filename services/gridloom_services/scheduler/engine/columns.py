"""Growable int64 columns: how the engine keeps a hundred thousand rows small and scannable.

A `Block` is a few columns of equal length; whole columns are read as numpy arrays, single cells
through memoryviews (half the time of a numpy scalar). A `Table` numbers rows, gives numbers back
and grows its blocks together. `Resources` numbers resource names and widens every block of amounts
when a new name comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from gridloom_services.scheduler.engine.errors import EngineError
from gridloom_services.scheduler.engine.events import MAX_AMOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Need = tuple[tuple[int, int], ...]
"""Amounts that are not zero, by resource number, in the order of the numbers."""

FAR = 2**62
"""Later than every time and more than every amount."""

_FIRST_CAPACITY = 16


class Block:
    """Columns of int64 that grow together. `views` are taken anew whenever it grows."""

    __slots__ = ("data", "views")

    def __init__(self, width: int, capacity: int = _FIRST_CAPACITY) -> None:
        self.data: Ints = np.zeros((width, capacity), np.int64)
        self.views: list[memoryview[int]] = [memoryview(column) for column in self.data]

    def reshape(self, width: int, capacity: int) -> None:
        """Make it larger; what is new is zero."""
        data: Ints = np.zeros((width, capacity), np.int64)
        old_width, old_capacity = self.data.shape
        data[:old_width, :old_capacity] = self.data
        self.data = data
        self.views = [memoryview(column) for column in data]


class Table:
    """Numbered rows of int64 fields.

    Each name in `fields` is an attribute: the memoryview of that column, replaced whenever the
    table grows, so never keep one across `take`. A row's cells are zero when it is taken.
    """

    fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *amounts: Block) -> None:
        self.size = 0
        self._capacity = _FIRST_CAPACITY
        self._spare: list[int] = []
        self._columns = Block(len(self.fields))
        self._blocks = (self._columns, *amounts)
        self._retake()

    def take(self) -> int:
        """A row that nobody uses."""
        if self._spare:
            return self._spare.pop()
        if self.size == self._capacity:
            self._grow()
        self.size += 1
        return self.size - 1

    def give(self, row: int) -> None:
        """Give a row back; its cells become zero."""
        for block in self._blocks:
            for view in block.views:
                view[row] = 0
        self._spare.append(row)

    def give_cleared(self, row: int) -> None:
        """Give a row back of which no cell is ever read before it is written again."""
        self._spare.append(row)

    def array(self, field: str) -> Ints:
        """A whole column, rows that nobody uses included (zeros)."""
        return self._columns.data[self.fields.index(field), : self.size]

    def _grow(self) -> None:
        # By half: memory per row is a promise, copies are rare.
        self._capacity += self._capacity // 2
        for block in self._blocks:
            block.reshape(len(block.views), self._capacity)
        self._retake()

    def _retake(self) -> None:
        for field, view in zip(self.fields, self._columns.views, strict=True):
            setattr(self, field, view)


class Resources:
    """Numbers of resource names, in order of their first appearance."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._blocks: list[Block] = []

    def block(self) -> Block:
        """A block with one column a resource, now and later."""
        block = Block(len(self.names))
        self._blocks.append(block)
        return block

    def need(self, amounts: Mapping[str, int]) -> Need:
        """Amounts by number; `EngineError` for one that is negative or absurd."""
        need = []
        for name, amount in amounts.items():
            if not 0 <= amount <= MAX_AMOUNT:
                raise EngineError(f"{amount} of {name!r}: an amount is 0 to {MAX_AMOUNT}")
            if amount:
                need.append((self.number(name), amount))
        need.sort()
        return tuple(need)

    def number(self, name: str) -> int:
        """The number of a name, which widens every block where it is new."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
            for block in self._blocks:
                block.reshape(len(self.names), block.data.shape[1])
        return number

    def named(self, need: Need) -> dict[str, int]:
        """Amounts by name."""
        return {self.names[number]: amount for number, amount in need}
