"""Failures of one plan: a class that did not fit until some end does not fit for longer either.

Room only shrinks while a plan goes on, so a failure holds to its end. One number a class says it:
the earliest end for which it failed. A failed class of one role also stops every class that asks at
least as much of the same nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridloom_services.scheduler.engine.columns import FAR

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine.classes import ClassTable
    from gridloom_services.scheduler.engine.columns import Ints, Mask
    from gridloom_services.scheduler.engine.reach import Reaches


class Failures:
    """For each class, the earliest end for which it has failed (`FAR`: none)."""

    def __init__(self, classes: ClassTable, reaches: Reaches) -> None:
        self._classes = classes
        self._reaches = reaches
        self.ends: Ints = np.full(classes.size, FAR, np.int64)
        self._view: memoryview[int] = memoryview(self.ends.data)

    def stops(self, klass: int, end: int) -> bool:
        """Whether a gang of this class that ends at `end` is known not to fit."""
        return self._view[klass] <= end

    def add(self, klass: int, end: int) -> None:
        """This class does not fit until `end`, nor until any later end."""
        self._view[klass] = min(self._view[klass], end)
        if self._classes.single[klass]:
            stopped = self._dominated(klass)
            self.ends[stopped] = np.minimum(self.ends[stopped], end)

    def add_too_large(self, avail: Ints, usable: Mask) -> None:
        """Every class of one role whose replica is larger than the room on any node fails."""
        need = self._classes.need.data[:, : self._classes.size]
        largest = np.max(avail, axis=1, where=usable, initial=0)
        self.ends[(need > largest[:, None]).any(axis=0)] = -FAR

    def _dominated(self, klass: int) -> Ints:
        classes = self._classes
        more = classes.array("selector") == classes.selector[klass]
        more &= classes.array("single") == 1
        more &= classes.array("replicas") >= classes.replicas[klass]
        more &= self._reaches.within(klass)
        for row in classes.need.data[:, : classes.size]:
            asked = int(row[klass])
            if asked:
                more &= row >= asked
        return np.flatnonzero(more)
