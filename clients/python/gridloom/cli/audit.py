"""`gridloom audit`: who has changed what."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

from gridloom.cli.verb import Here, Options, verb_with

OPTIONS: Options = {
    "actor": (Annotated[str, typer.Option(help="Only what this user did.")], ""),
    "action": (
        Annotated[str, typer.Option(help='Only "job.cancel"; "job." stands for all about jobs.')],
        "",
    ),
    "object": (Annotated[str, typer.Option(help="Only what was done to it.")], ""),
    "key_id": (Annotated[str, typer.Option("--key", help="Only with this key.")], ""),
    "result": (Annotated[str, typer.Option(help='"OK", "refused", or a status.')], ""),
    "since": (Annotated[str, typer.Option(help='A date, or how long ago: "2h".')], ""),
    "until": (Annotated[str, typer.Option(help="The same.")], ""),
    "limit": (
        Annotated[int, typer.Option("--limit", "-n", help="At most so many; 0: all.")],
        100,
    ),
}


@verb_with(OPTIONS)
def audit(here: Here, *, limit: int, **chosen: str) -> None:
    """List changes, the newest first.

    For admins: of their project, or of the whole platform.
    """
    from gridloom.cli.access_nouns import AUDIT

    client = here.client
    said: dict[str, Any] = {word: value for word, value in chosen.items() if value}
    if client.defaults.project:
        said["project"] = client.defaults.project
    entries = client.access.audit(**said)
    here.screen.many(AUDIT, list(islice(entries, limit or None)))
