"""What the shell offers after TAB. It never starts a platform, and says nothing when in doubt."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import typer  # noqa: TC002  # Typer reads the annotations to know what is its context

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.client import Client

T = TypeVar("T")

_OFFERED = 30
_PATIENCE_S = 1.0
_PLACES = ("home", "address", "context")


def complete_jobs(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs, with name and state."""
    found = _looked_up(ctx, lambda client: [job.info for job in islice(client.jobs(), _OFFERED)])
    return [(job.id, f"{job.name} {job.state}") for job in found if job.id.startswith(incomplete)]


def complete_queues(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The queues."""
    found = _looked_up(ctx, lambda client: client.queues())
    return [(q.name, q.description) for q in found if q.name.startswith(incomplete)]


def complete_pools(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The pools that take calls, with name and state."""
    found = _looked_up(ctx, lambda client: client.pools())
    return [
        (pool.id, f"{pool.name} {pool.state}".strip())
        for pool in found
        if pool.id.startswith(incomplete) and pool.state != "CLOSED"
    ]


def complete_contexts(incomplete: str) -> list[str]:
    """The contexts."""
    from gridloom.context import contexts_file, read_contexts
    from gridloom.errors import GridloomError

    try:
        known = read_contexts(contexts_file()).everything()
    except GridloomError:
        return []
    return [context.name for context in known if context.name.startswith(incomplete)]


def _looked_up(ctx: typer.Context, look: Callable[[Client], list[T]]) -> list[T]:
    """What a platform that runs already answers; nothing where none does, or in case of trouble.

    It is the one that the words before name, as for the verb itself.
    """
    from gridloom.client import Client
    from gridloom.errors import GridloomError
    from gridloom.home import EmbeddedPlatform
    from gridloom.locate import locate

    try:
        said = {**ctx.find_root().params, **{w: v for w, v in ctx.params.items() if v}}
        home, address, context = (said.get(word) or None for word in _PLACES)
        place = locate(address, context=context, home=home)
        platform = place.locator
        if isinstance(platform, EmbeddedPlatform) and platform.running() is None:
            return []
        with Client(place, patience_s=_PATIENCE_S) as client:
            return look(client)
    except GridloomError:
        return []
