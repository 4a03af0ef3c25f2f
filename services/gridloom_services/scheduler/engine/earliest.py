"""The earliest time at which a gang fits beside what is promised, and where.

Room for a gang that would run from `s` to `s + limit` is what is free at `s`, less promises that
hold then, and no more than what any promise that starts within leaves at its start. Between two
times at which that set of promises changes, room only grows with each release of running work: one
pass over the releases, in order of their ends, finds the first that suffices.

A gang of several roles is placed greedily, which is not monotone in room. So the rule is: in each
such interval, from the first time at which every role by itself would fit, the times of releases
are tried in steps of 1, 2, 4, ... and between the last failure and the first success by halves.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from gridloom_services.common.values import dataclass
from gridloom_services.scheduler.engine.columns import FAR, Ints
from gridloom_services.scheduler.engine.fit import place
from gridloom_services.scheduler.engine.promises import left_at, subtract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gridloom_services.scheduler.engine.allocations import Pick
    from gridloom_services.scheduler.engine.classes import Role, Shape
    from gridloom_services.scheduler.engine.columns import Mask
    from gridloom_services.scheduler.engine.profile import Profile
    from gridloom_services.scheduler.engine.promises import Pledge

Found = tuple[int, "list[Pick]"]


@dataclass(frozen=True, slots=True)
class Request:
    """A gang that looks for a start: what it asks, where it may run and for how long."""

    shape: Shape
    allowed: Mask
    limit: int


@dataclass(frozen=True, slots=True)
class Interval:
    """Times from `first` to before `stop` with the same promises in the way."""

    first: int
    stop: int
    free: Ints
    """What is free now less what is promised throughout."""
    cap: Ints | None
    """What promises that start later leave, or None where there are none."""


def earliest(
    profile: Profile, pledges: Sequence[Pledge], request: Request, after: int, before: int = FAR
) -> Found | None:
    """The first time from `after` on and before `before`, and where; None where there is none."""
    if pledges:
        # Where promises cut time into many intervals, one pass without them skips the hopeless.
        bound = _bound(profile, Interval(after, before, profile.free, None), request)
        if bound is None:
            return None
        after = bound
    for interval in _intervals(profile, pledges, request.limit, after, before):
        found = _first_in(profile, interval, request)
        if found is not None:
            return found
    return None


def _bound(profile: Profile, interval: Interval, request: Request) -> int | None:
    """The first time in the interval at which each role by itself would fit."""
    bound = interval.first
    for role in request.shape.roles:
        time = role_time(profile, interval, role, request.allowed)
        if time is None:
            return None
        bound = max(bound, time)
    return bound


def _intervals(
    profile: Profile, pledges: Sequence[Pledge], limit: int, after: int, before: int
) -> Iterator[Interval]:
    edges = {after, before}
    for pledge in pledges:
        edges |= {pledge.start - limit + 1, pledge.start, pledge.end}
    times = sorted(edge for edge in edges if after <= edge <= before)
    for first, stop in pairwise(times):
        free = profile.free.copy()
        for pledge in pledges:
            if pledge.covers(first):
                subtract(free, pledge.spread)
        later = [p for p in pledges if first < p.start < first + limit]
        cap = np.minimum.reduce([left_at(p, pledges) for p in later]) if later else None
        yield Interval(first, stop, free, cap)


def _first_in(profile: Profile, interval: Interval, request: Request) -> Found | None:
    bound = _bound(profile, interval, request)
    if bound is None:
        return None
    if len(request.shape.roles) > 1:
        return _gallop(profile, interval, request, bound)
    picks = _try(profile, interval, request, bound)
    return None if picks is None else (bound, picks)


def role_time(profile: Profile, interval: Interval, role: Role, allowed: Mask) -> int | None:
    """The first time in the interval at which the role's gang would fit by itself."""
    most = np.where(allowed, role.gang, 0)
    if interval.cap is not None:
        np.minimum(most, counts(interval.cap, role), out=most)
    before = np.minimum(counts(interval.free, role), most)
    releases = profile.releases()
    along = releases.nodes[releases.by_node]
    after = np.minimum(_counts_along(profile, interval, role), most[along])
    gains = np.diff(after, prepend=0)
    gains[releases.first] = after[releases.first] - before[along[releases.first]]
    in_time = np.empty_like(gains)
    in_time[releases.by_node] = gains
    totals = np.cumsum(in_time) + before.sum()
    return _first_enough(releases.ends, totals, int(before.sum()), role.gang, interval)


def counts(avail: Ints, role: Role) -> Ints:
    """How many replicas, 0 to the gang or the share, each node holds."""
    most = np.full(avail.shape[1], role.share or role.gang, np.int64)
    for number, amount in role.need:
        np.minimum(most, avail[number] // amount, out=most)
    return _whole(most, role)


def _whole(most: Ints, role: Role) -> Ints:
    """A node takes its whole share, or none."""
    return np.where(most >= max(role.share, 1), most, 0)


def _counts_along(profile: Profile, interval: Interval, role: Role) -> Ints:
    # After each release, by node and then by end: what has been released there so far, plus free.
    releases = profile.releases()
    along = releases.nodes[releases.by_node]
    start = np.flatnonzero(releases.first)
    lengths = np.diff(start, append=along.size)
    most = np.full(along.size, role.share or role.gang, np.int64)
    for number, amount in role.need:
        given = releases.amounts[number][releases.by_node]
        total = np.cumsum(given)
        # The sum before each node's first release, repeated for its releases.
        total -= np.repeat(total[start] - given[start], lengths)
        total += interval.free[number][along]
        np.minimum(most, total // amount, out=most)
    return _whole(most, role)


def _first_enough(
    ends: Ints, totals: Ints, before: int, wanted: int, interval: Interval
) -> int | None:
    passed = int(np.searchsorted(ends, interval.first, "right"))
    if (int(totals[passed - 1]) if passed else before) >= wanted:
        return interval.first
    stop = int(np.searchsorted(ends, interval.stop, "left"))
    enough = totals[passed:stop] >= wanted
    if not enough.any():
        return None
    return int(ends[passed + int(enough.argmax())])


def _gallop(profile: Profile, interval: Interval, request: Request, bound: int) -> Found | None:
    ends = profile.releases().ends
    later = np.unique(ends[(ends > bound) & (ends < interval.stop)])
    times = [bound, *later.tolist()]
    low, high, step = -1, 0, 1
    picks = _try(profile, interval, request, times[0])
    while picks is None and high < len(times) - 1:
        low, high, step = high, min(high + step, len(times) - 1), step * 2
        picks = _try(profile, interval, request, times[high])
    if picks is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        tried = _try(profile, interval, request, times[middle])
        if tried is None:
            low = middle
        else:
            high, picks = middle, tried
    return times[high], picks


def _try(profile: Profile, interval: Interval, request: Request, time: int) -> list[Pick] | None:
    avail = profile.free_at(time)
    avail += interval.free - profile.free
    if interval.cap is not None:
        np.minimum(avail, interval.cap, out=avail)
    return place(avail, request.shape, request.allowed, profile.pack)
