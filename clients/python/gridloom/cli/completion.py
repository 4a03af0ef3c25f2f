"""What the shell offers after TAB. It never starts a platform, and says nothing when in doubt."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.client import Client

T = TypeVar("T")

_OFFERED = 30
_PATIENCE_S = 1.0


def complete_jobs(incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs, with name and state."""
    found = _looked_up(lambda client: [job.info for job in islice(client.jobs(), _OFFERED)])
    return [(job.id, f"{job.name} {job.state}") for job in found if job.id.startswith(incomplete)]


def complete_queues(incomplete: str) -> list[tuple[str, str]]:
    """The queues."""
    found = _looked_up(lambda client: client.queues())
    return [(q.name, q.description) for q in found if q.name.startswith(incomplete)]


def _looked_up(look: Callable[[Client], list[T]]) -> list[T]:
    """What a platform that runs already answers; nothing where none does, or in case of trouble."""
    from gridloom.client import Client
    from gridloom.errors import GridloomError
    from gridloom.home import EmbeddedPlatform
    from gridloom.locate import locate

    try:
        place = locate()
        platform = place.locator
        if isinstance(platform, EmbeddedPlatform) and platform.running() is None:
            return []
        with Client(place, patience_s=_PATIENCE_S) as client:
            return look(client)
    except GridloomError:
        return []
