"""A job's events by pages: one event an element where several changed together."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom_services.scheduler.commands import Target
    from gridloom_services.scheduler.job import Event
    from gridloom_services.scheduler.store.base import Store

# (revision, element) of the last event that was shown; an element of -1: the job as a whole.
Place = tuple[int, int]
WHOLE = -1


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Events, oldest first, and where the next page goes on; None: there is none."""

    events: list[Event]
    next: Place | None


async def history(store: Store, target: Target, after: Place | None, size: int) -> HistoryPage:
    """Return a page of the events of a job, or of one element."""
    revision, element = after or (0, WHOLE)
    # The event that the last page ended in may have more elements; or none, and is one too many.
    again = int(element != WHOLE)
    stored = await store.history(
        target.job.sequence, revision - again, size + 1 + again, target.element
    )
    later = (
        each
        for event in stored
        for each in _singles(event, target.element)
        if (each.revision, WHOLE if each.element is None else each.element) > (revision, element)
    )
    shown = list(islice(later, size + 1))
    page = shown[:size]
    if len(shown) <= size:
        return HistoryPage(page, None)
    last = page[-1]
    return HistoryPage(page, (last.revision, WHOLE if last.element is None else last.element))


def _singles(event: Event, element: int | None) -> Iterator[Event]:
    if event.element is None:
        yield event
    elif element is not None:
        yield replace(event, element=element, count=1)
    else:
        for position in range(event.element, event.element + event.count):
            yield replace(event, element=position, count=1)
