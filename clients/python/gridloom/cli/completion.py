"""What the shell offers after TAB. It never starts a platform, and says nothing when in doubt."""

from __future__ import annotations

from itertools import islice

_OFFERED = 30
_PATIENCE_S = 1.0


def complete_jobs(incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs, with name and state."""
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
            jobs = [job.info for job in islice(client.jobs(), _OFFERED)]
    except GridloomError:
        return []
    return [(job.id, f"{job.name} {job.state}") for job in jobs if job.id.startswith(incomplete)]


def complete_queues(incomplete: str) -> list[tuple[str, str]]:
    """The queues."""
    from gridloom.client import Client
    from gridloom.errors import GridloomError
    from gridloom.locate import locate

    try:
        with Client(locate(), patience_s=_PATIENCE_S) as client:
            queues = client.queues()
    except GridloomError:
        return []
    return [(q.name, q.description) for q in queues if q.name.startswith(incomplete)]
