"""How many workers a host should have, and which must go: decided from counts, done elsewhere.

A worker belongs to no replica in particular: each replica of the pool's role is the right to have
one, and which of them ends is the choice of the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# A bound on recursion: a function that waits for itself would else have a process a level.
MOST_EXTRA = 256


class Member(NamedTuple):
    """A worker that is here and not about to go."""

    pid: int
    busy: bool = False


class Grants(NamedTuple):
    """What the host may have.

    `granted` are the replicas that are here now, `known` those that were here and are not reported
    as over. `asked` is what the service wants of them, None: all. `extra` workers stand in for
    calls that wait for others.
    """

    granted: Collection[int]
    known: Collection[int]
    asked: int | None = None
    extra: int = 0

    @property
    def size(self) -> int:
        """How many workers there should be."""
        allowed = len(self.granted)
        wanted = allowed if self.asked is None else min(max(self.asked, 0), allowed)
        return wanted + min(self.extra, MOST_EXTRA)


class Changes(NamedTuple):
    """What makes the staff what it should be.

    `fork`: how many new workers. `retire`: pids. `over`: replicas to be reported as over.
    """

    fork: int = 0
    retire: tuple[int, ...] = ()
    over: tuple[int, ...] = ()


def staff_changes(grants: Grants, members: Sequence[Member], retiring: int = 0) -> Changes:
    """What to change. Idle workers go before busy ones, and of these the youngest first.

    A replica that was taken away is over when so many workers have gone that none uses its share.
    """
    surplus = len(members) - grants.size
    leaving = sorted(members, key=lambda member: (member.busy, -member.pid))[: max(surplus, 0)]
    living = len(members) + retiring - min(grants.extra, MOST_EXTRA)
    unused = len(grants.known) - max(living, len(grants.granted))
    taken_away = sorted(set(grants.known) - set(grants.granted))
    return Changes(
        fork=max(-surplus, 0),
        retire=tuple(member.pid for member in leaving),
        over=tuple(taken_away[: max(unused, 0)]),
    )
