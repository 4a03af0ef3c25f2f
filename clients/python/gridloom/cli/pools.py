"""`gridloom pools` and `gridloom functions`: warm workers, and what was called on them."""

from __future__ import annotations

from typing import Annotated

import typer

from gridloom.cli.arguments import example
from gridloom.cli.completion import complete_pools
from gridloom.cli.verb import Here, verb

pools_app = typer.Typer(
    help="List, show and close pools of workers.", no_args_is_help=True, rich_markup_mode=None
)
functions_app = typer.Typer(
    help="List the functions that were called.", no_args_is_help=True, rich_markup_mode=None
)

PoolArgument = Annotated[
    str,
    typer.Argument(
        metavar="POOL", help="Its id.", autocompletion=complete_pools, show_default=False
    ),
]
PoolsArgument = Annotated[
    list[str],
    typer.Argument(metavar="POOL...", autocompletion=complete_pools, show_default=False),
]


@pools_app.command("list", epilog=example("gridloom pools list"))
@verb
def list_pools(here: Here) -> None:
    """List pools with their workers and calls."""
    from gridloom.cli.nouns import POOL

    here.screen.many(POOL, here.client.pools())


@pools_app.command(epilog=example("gridloom pools show pool_01jc5x0q8m3n7v9z2k4t6w8y0a"))
@verb
def show(here: Here, pool: PoolArgument) -> None:
    """Show one pool."""
    from gridloom import inventory
    from gridloom.cli.nouns import POOL

    here.screen.one(POOL, here.client.connection.run(inventory.get_pool(pool)))


@pools_app.command(epilog=example("gridloom pools close pool_01jc5x0q8m3n7v9z2k4t6w8y0a"))
@verb
def close(
    here: Here,
    pools: PoolsArgument,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for calls to end.")] = False,
) -> None:
    """End a pool's workers, after the calls that they are in."""
    from gridloom import inventory
    from gridloom.cli.nouns import POOL

    closed = [
        here.client.connection.run(inventory.close_pool(pool, cancel_running=now)) for pool in pools
    ]
    here.screen.done(POOL, closed, lambda pool: f"{pool.id} is {pool.state}")


@functions_app.command("list", epilog=example("gridloom functions list"))
@verb
def list_functions(here: Here) -> None:
    """List functions with how often they ran and how long they take."""
    from gridloom.cli.nouns import FUNCTION

    here.screen.many(FUNCTION, here.client.functions())
