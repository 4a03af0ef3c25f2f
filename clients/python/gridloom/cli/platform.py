"""`gridloom up`, `down` and `status`: the embedded platform, and what is on any."""

from __future__ import annotations

from typing import Annotated

import typer

from gridloom.cli.verb import Here, verb


@verb
def up(
    here: Here,
    port: Annotated[int | None, typer.Option(help="Listen there; else the last one.")] = None,
    cpus: Annotated[float | None, typer.Option(help="Offer so many CPUs.")] = None,
    memory: Annotated[str, typer.Option(help='Offer so much memory: "8GiB".')] = "",
    workers: Annotated[
        int | None, typer.Option(help="Most workers of a pool that names no number.")
    ] = None,
    idle_timeout: Annotated[
        str, typer.Option(help='End by itself after so long without work: "1h"; 0: never.')
    ] = "",
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in this terminal until Ctrl-C.")
    ] = False,
) -> None:
    """Start the platform of this machine.

    Nothing happens where it runs already. Every verb that needs it starts it, too; this one says
    how.
    """
    from gridloom import units
    from gridloom.cli.lifecycle import bring_up
    from gridloom.home import StartOptions

    options = StartOptions(
        port=port,
        cpus=cpus,
        memory_bytes=units.memory_bytes(memory) if memory else None,
        idle_timeout_s=units.seconds(idle_timeout, field="idle_timeout") if idle_timeout else None,
        workers=workers,
    )
    bring_up(here, options, foreground=foreground)


@verb
def down(
    here: Here,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel unfinished work.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave unfinished work; the next `up` finds it.")
    ] = False,
) -> None:
    """Stop the platform of this machine."""
    from gridloom.cli.lifecycle import bring_down

    bring_down(here, cancel=cancel, keep=keep)


@verb
def status(here: Here) -> None:
    """Say where the platform is and what it has.

    Starts none: the exit code is 4 where none runs.
    """
    from gridloom.cli.overview import show_status

    show_status(here)
