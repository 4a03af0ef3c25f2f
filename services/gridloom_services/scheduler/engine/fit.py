"""Fit: which nodes hold a gang, by scanning all of them.

The rule, role by role in the shape's order: nodes that hold part of the gang come first, then those
that hold the most of what is left, then the fullest, then the first by name (`pack`, lower first).
Greedy, so a gang of several roles may be refused where a cleverer search would find room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridloom_services.scheduler.engine.nodes import PACK_BITS

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine.allocations import Pick
    from gridloom_services.scheduler.engine.classes import Role, Shape
    from gridloom_services.scheduler.engine.columns import Ints, Mask, Need

_SORT_ALL = 4
"""Below so many candidates a wanted node, sorting all is as fast as picking out the best."""


def place(avail: Ints, shape: Shape, allowed: Mask, pack: Ints) -> list[Pick] | None:
    """Where the whole gang goes, or None. `avail` is as before on return."""
    if len(shape.order) == 1:
        role = shape.roles[0]
        found = role_place(avail, role.need, role.gang, allowed, pack, share=role.share)
        return None if found is None else [(node, 0, count) for node, count in found]
    picks: list[Pick] = []
    for position in shape.order:
        role = shape.roles[position]
        held = list(dict.fromkeys(node for node, _, _ in picks))
        found = role_place(avail, role.need, role.gang, allowed, pack, held, role.share)
        if found is None:
            break
        picks += [(node, position, count) for node, count in found]
        _add(avail, role, found, -1)
    for node, position, count in picks:
        _add(avail, shape.roles[position], [(node, count)], 1)
    return None if found is None else picks


def role_place(
    avail: Ints,
    need: Need,
    wanted: int,
    allowed: Mask,
    pack: Ints,
    held: list[int] | None = None,
    share: int = 0,
) -> list[tuple[int, int]] | None:
    """Nodes for `wanted` replicas and how many go on each, or None; `held` nodes come first."""
    nodes = fitting(avail, _together(need, share), allowed)
    if wanted == 1 and not held:
        return [(int(nodes[pack[nodes].argmin()]), 1)] if nodes.size else None
    counts = replica_counts(avail, need, nodes, share or wanted)
    if counts.sum() < wanted:
        return None
    found: list[tuple[int, int]] = []
    if held:
        here = np.isin(nodes, held)
        found = pick(nodes[here], counts[here], wanted, pack)
        wanted -= sum(count for _, count in found)
        nodes, counts = nodes[~here], counts[~here]
    return found + pick(nodes, counts, wanted, pack) if wanted else found


def fitting(avail: Ints, need: Need, allowed: Mask) -> Ints:
    """Allowed nodes that hold at least one replica."""
    fits = allowed
    for number, amount in need:
        fits = fits & (avail[number] >= amount)
    return np.flatnonzero(fits)


def replica_counts(avail: Ints, need: Need, nodes: Ints, wanted: int) -> Ints:
    """How many replicas, at most `wanted`, each of these nodes holds (at least one)."""
    counts = np.full(nodes.size, wanted, np.int64)
    for number, amount in need:
        have = avail[number]
        # Division is what costs: not where no node holds two.
        if wanted > 1 and have.size and int(have.max()) >= 2 * amount:
            np.minimum(counts, have[nodes] // amount, out=counts)
        else:
            counts.fill(1)
    return counts


def total_count(avail: Ints, role: Role, allowed: Mask) -> int:
    """How many replicas all allowed nodes hold together, counting at most the gang on each."""
    nodes = fitting(avail, _together(role.need, role.share), allowed)
    return int(replica_counts(avail, role.need, nodes, role.share or role.gang).sum())


def _together(need: Need, share: int) -> Need:
    """What a node must have at least: a replica's need, or that of its whole share."""
    return need if share <= 1 else tuple((number, amount * share) for number, amount in need)


def pick(nodes: Ints, counts: Ints, wanted: int, pack: Ints) -> list[tuple[int, int]]:
    """Up to `wanted` replicas on these nodes, which hold `counts`: by the rule above."""
    if not nodes.size:
        return []
    keys = pack[nodes]
    most = counts.max()
    # Most replicas first, then by pack, in one number.
    ranked = keys if counts.min() == most else ((most - counts) << PACK_BITS) | keys
    order = _lowest(ranked, wanted)
    ahead = counts[order]
    left = wanted - np.cumsum(ahead) + ahead
    last = int(np.argmax(ahead >= left))
    if ahead[last] < left[last]:
        return list(zip(nodes[order].tolist(), ahead.tolist(), strict=True))
    rest = int(left[last])
    counts = counts.copy()
    counts[order[:last]] = 0
    enough = np.flatnonzero(counts >= rest)
    final = int(enough[keys[enough].argmin()])
    found = list(zip(nodes[order[:last]].tolist(), ahead[:last].tolist(), strict=True))
    return [*found, (int(nodes[final]), rest)]


def _lowest(keys: Ints, wanted: int) -> Ints:
    """Where the lowest keys stand, in order; no two keys are equal."""
    if keys.size <= _SORT_ALL * wanted:
        return np.argsort(keys)
    # Several times as fast as argpartition.
    highest = np.partition(keys, wanted - 1)[wanted - 1]
    lowest = np.flatnonzero(keys <= highest)
    return lowest[np.argsort(keys[lowest])]


def _add(avail: Ints, role: Role, found: list[tuple[int, int]], sign: int) -> None:
    for node, count in found:
        for number, amount in role.need:
            avail[number, node] += sign * amount * count
