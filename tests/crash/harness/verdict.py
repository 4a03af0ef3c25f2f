"""What a seed has left behind, held against what it has to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.crash.harness.journal import accepted_lots, records
from tests.crash.harness.work import CALL_KINDS, KINDS, REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.harness.ground import Ground

_SHOWN = 3


def wrong_in(ground: Ground) -> Iterator[str]:
    """Each lot that was accepted has, at each of its places, one value, and that is right."""
    told = yield from _told(ground)
    may_be_refused = "full disk" in ground.blows
    for lot, ids in accepted_lots(ground.journal).items():
        kind, wrong = ground.kinds[lot], []
        for place, wanted in KINDS[kind].expected(ids).items():
            value = told.get((lot, place))
            seen = value[0] if kind in CALL_KINDS and value else value
            if seen != wanted and not (value == REFUSED and may_be_refused):
                wrong.append(f"lot {lot} ({kind}) at {place}: {value} instead of {wanted}")
        yield from wrong[:_SHOWN]
        if len(wrong) > _SHOWN:
            yield f"lot {lot} ({kind}): {len(wrong) - _SHOWN} more of these"
    if not any("finished" in record for record in records(ground.journal)):
        yield "no client has seen the end"


def _told(ground: Ground) -> Iterator[Any]:
    told: dict[tuple[int, str], Any] = {}
    for record in records(ground.journal):
        if "place" in record:
            key = (record["lot"], record["place"])
            if told.setdefault(key, record["value"]) != record["value"]:
                yield f"lot {key[0]} at {key[1]}: told {told[key]}, then {record['value']}"
    return told
