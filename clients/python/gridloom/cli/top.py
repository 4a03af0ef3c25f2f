"""`gridloom top`: what is on, live."""

from __future__ import annotations

from typing import Annotated

import typer

from gridloom.cli.verb import Here, verb


@verb
def top(
    here: Here,
    every: Annotated[str, typer.Option(help="How often to look.")] = "1s",
) -> None:
    """Show machines, queues and running jobs, live.

    Until Ctrl-C; once where the output is no terminal.
    """
    from gridloom import units
    from gridloom.cli.overview import show_top

    show_top(here, units.seconds(every, field="every", least=0.1))
