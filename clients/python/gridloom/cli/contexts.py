"""`gridloom contexts`: platforms by name, and which of them is meant when nobody says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gridloom.cli.arguments import example
from gridloom.cli.completion import complete_contexts
from gridloom.cli.verb import Here, verb

if TYPE_CHECKING:
    from gridloom.context import Contexts

app = typer.Typer(help="Choose between platforms.", no_args_is_help=True, rich_markup_mode=None)

NameArgument = Annotated[
    str,
    typer.Argument(metavar="CONTEXT", autocompletion=complete_contexts, show_default=False),
]


@app.command("list", epilog=example("gridloom contexts list"))
@verb
def list_contexts(here: Here) -> None:
    """List contexts; the current one has a star."""
    from gridloom.cli.nouns import context_noun

    contexts = _contexts()
    here.screen.many(context_noun(contexts.current), contexts.everything())


@app.command(epilog=example("gridloom contexts show lab"))
@verb
def show(
    here: Here,
    name: Annotated[str, typer.Argument(metavar="[CONTEXT]", show_default=False)] = "",
) -> None:
    """Show a context, else the current one. Its key is never shown."""
    from gridloom.cli.nouns import context_noun

    contexts = _contexts()
    here.screen.one(context_noun(contexts.current), contexts.get(name or contexts.current))


@app.command(epilog=example("gridloom contexts use lab"))
@verb
def use(here: Here, name: NameArgument) -> None:
    """Make a context the current one."""
    _contexts().using(name).write()
    here.screen.say(f"{name} is current")


@app.command("set", epilog=example("gridloom contexts set lab --server hpc.example.org"))
@verb
def set_context(
    here: Here,
    name: NameArgument,
    server: Annotated[str, typer.Option(help="Address; empty: embedded.")] = "",
    folder: Annotated[str, typer.Option(help="Home folder of an embedded platform.")] = "",
    default_project: Annotated[str, typer.Option(help="Project of its jobs.")] = "",
    default_queue: Annotated[str, typer.Option(help="Queue of its jobs.")] = "",
    ca_file: Annotated[
        str, typer.Option(help="Whose certificates to trust; else whom the system trusts.")
    ] = "",
) -> None:
    """Add a context, or change one."""
    from dataclasses import replace

    from gridloom.context import Context

    contexts = _contexts()
    old = contexts.by_name.get(name, Context(name))
    said = {
        "address": server,
        "home": folder,
        "project": default_project,
        "queue": default_queue,
        "ca_file": ca_file,
    }
    changed = replace(old, **{word: value for word, value in said.items() if value})
    contexts.having(changed).write()
    here.screen.say(f"{name} is {changed.address or 'an embedded platform'}")


@app.command(epilog=example("gridloom contexts delete lab"))
@verb
def delete(here: Here, name: NameArgument) -> None:
    """Forget a context. The platform stays as it is."""
    _contexts().without(name).write()
    here.screen.settled({"name": name, "deleted": True}, f"{name} is forgotten")


def _contexts() -> Contexts:
    from gridloom.context import contexts_file, read_contexts

    return read_contexts(contexts_file())
