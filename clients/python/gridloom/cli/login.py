"""`gridloom login` and `logout`: the key of a platform, kept in a context for every later verb."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gridloom.cli.verb import PATIENCE_S, Here, verb
from gridloom.errors import InvalidRequestError

if TYPE_CHECKING:
    from gridloom.access.info import Identity
    from gridloom.context import Context

AddressArgument = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS", help="host[:port], or grpc://host:port without TLS.", show_default=False
    ),
]


@verb
def login(
    here: Here,
    server: AddressArgument,
    name: Annotated[str, typer.Option(help="Of the context; else the host's.")] = "",
    ca_file: Annotated[
        str, typer.Option(help="Whose certificates to trust; else whom the system trusts.")
    ] = "",
    default_project: Annotated[str, typer.Option(help="Project of its jobs.")] = "",
    default_queue: Annotated[str, typer.Option(help="Queue of its jobs.")] = "",
) -> None:
    """Keep a platform's address and your API key, and use them from now on.

    The key is asked for without showing it; in a pipe it is read from standard input.
    """
    from dataclasses import replace
    from pathlib import Path

    from gridloom.cli.access_nouns import IDENTITY
    from gridloom.context import Context, contexts_file, read_contexts

    contexts = read_contexts(contexts_file())
    called = name or _host(server)
    said = {
        "address": server,
        "ca_file": str(Path(ca_file).expanduser().absolute()) if ca_file else "",
        "project": default_project,
        "queue": default_queue,
    }
    known = contexts.by_name.get(called, Context(called))
    context = replace(known, **{word: value for word, value in said.items() if value})
    context = replace(context, api_key=_read_key(server))
    identity = verified(context)
    if not context.project and identity.project != "*":
        context = replace(context, project=identity.project)
    contexts.having(context).using(called).write()
    if here.screen.as_json:
        here.screen.one(IDENTITY, identity)
        return
    where = "every project" if identity.project == "*" else f"project {identity.project}"
    here.screen.say(
        f"logged in to {server} as {identity.name}, {identity.role} in {where};"
        f" context {called} is current"
    )


@verb
def logout(
    here: Here,
    name: Annotated[str, typer.Argument(metavar="[CONTEXT]", show_default=False)] = "",
) -> None:
    """Forget the key of a context, else of the current one. The key itself stays good."""
    from dataclasses import replace

    from gridloom.context import contexts_file, read_contexts

    contexts = read_contexts(contexts_file())
    context = contexts.get(name or contexts.current)
    if not context.api_key:
        here.screen.say(f"no key is kept for {context.name}")
        return
    contexts.having(replace(context, api_key="")).write()
    here.screen.say(
        f"the key for {context.name} is forgotten here; `gridloom keys revoke` ends a key"
    )


@verb
def whoami(here: Here) -> None:
    """Say whom the platform takes you for, and what you may do."""
    from gridloom.cli.access_nouns import IDENTITY

    here.screen.one(IDENTITY, here.client.access.whoami())


def verified(context: Context) -> Identity:
    """Whom the platform takes the context's key for; its refusal where it does not know it."""
    from gridloom.access.operations import who_am_i
    from gridloom.channel import Connection
    from gridloom.locate import FixedAddress, endpoint_of

    endpoint = endpoint_of(context.address, token=context.api_key, ca_file=context.ca_file)
    connection = Connection(FixedAddress(endpoint), patience_s=PATIENCE_S)
    try:
        return connection.run(who_am_i())
    finally:
        connection.close()


def _read_key(server: str) -> str:
    """From the terminal, without echo; else the first line of standard input."""
    if sys.stdin.isatty():
        import getpass

        key = getpass.getpass(f"API key for {server}: ")
    else:
        key = sys.stdin.readline()
    if not key.strip():
        raise InvalidRequestError("no API key was given", field="api_key")
    return key.strip()


def _host(server: str) -> str:
    """What people call the platform at this address."""
    place = server.partition("://")[2] or server
    host, separator, port = place.rstrip("/").rpartition(":")
    return host.strip("[]") if separator and port.isdecimal() else place.rstrip("/")
