"""What a seed has left behind, held against what it has to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridloom.segments import PREFIX
from gridloom_services.embedded.memory import held_segments

from tests.crash.harness.journal import accepted_lots, records
from tests.crash.harness.work import CALL_KINDS, FORGETFUL_KINDS, KINDS, LOST, REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.harness.ground import Ground

_SHOWN = 3
MEMORY_LOSS = frozenset({"memory", "power"})
"""Blows that payloads which are not durable need not outlive."""


def wrong_in(ground: Ground) -> Iterator[str]:
    """Each lot that was accepted has, at each of its places, one value, and that is right."""
    told = yield from _told(ground)
    may_be_refused = "full disk" in ground.blows
    for lot, ids in accepted_lots(ground.journal).items():
        kind, wrong = ground.kinds[lot], []
        for place, wanted in KINDS[kind].expected(ids).items():
            value = told.get((lot, place))
            seen = value[0] if kind in CALL_KINDS and value else value
            may_be = value == REFUSED and may_be_refused
            may_be |= value == LOST and _may_be_lost(ground, lot)
            if seen != wanted and not may_be:
                wrong.append(f"lot {lot} ({kind}) at {place}: {value} instead of {wanted}")
        yield from wrong[:_SHOWN]
        if len(wrong) > _SHOWN:
            yield f"lot {lot} ({kind}): {len(wrong) - _SHOWN} more of these"
    if not any("finished" in record for record in records(ground.journal)):
        yield "no client has seen the end"


def left_in_memory(ground: Ground) -> Iterator[str]:
    """Of a platform that has ended in good order: segments that no unread result needs."""
    there, held = {path.name for path in ground.segments()}, set[str]()
    if (ground.home / "objects" / "objects.db").exists():
        held = {name.removeprefix(PREFIX) for name in held_segments(ground.home / "objects")}
    if there - held:
        yield f"{len(there - held)} segments are left that nobody needs"
    if not there and ground.memory.exists():
        yield f"{ground.memory} is left"


def _may_be_lost(ground: Ground, lot: int) -> bool:
    """Whether its payloads may be gone: only where all memory, or some of this, was lost."""
    return ground.kinds[lot] in FORGETFUL_KINDS and not MEMORY_LOSS.isdisjoint(ground.blows)


def _told(ground: Ground) -> Iterator[Any]:
    told: dict[tuple[int, str], Any] = {}
    for record in records(ground.journal):
        if "place" in record:
            key, value = (record["lot"], record["place"]), record["value"]
            if told.get(key, LOST) == LOST:
                told[key] = value
            # What a client has confirmed is gone when it is asked for anew.
            elif value not in (LOST, told[key]):
                yield f"lot {key[0]} at {key[1]}: told {told[key]}, then {value}"
    return told
