"""`gridloom keys`: API keys, with which people and programs enter a served platform."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gridloom.cli.arguments import example
from gridloom.cli.verb import Here, verb

app = typer.Typer(help="Make and revoke API keys.", no_args_is_help=True, rich_markup_mode=None)

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="Its id (or the key itself).", show_default=False)
]


@app.command(epilog=example("gridloom keys create --project chem --role submitter --expires 90d"))
@verb
def create(
    here: Here,
    role: Annotated[
        str, typer.Option(help="What it may do: viewer, submitter, operator or admin.")
    ] = "submitter",
    owner: Annotated[str, typer.Option(help="Whose it is; else yours.")] = "",
    expires: Annotated[str, typer.Option(help='When it ends: "90d", or a date.')] = "",
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Make a key, and show it: this once.

    It is for one project (--project NAME), or with --project '*' for every project.
    """
    made = here.client.access.create_key(
        role=role, owner=owner, description=description, expires=expires or None
    )
    if here.screen.as_json:
        from gridloom.cli.documents import plain

        here.screen.document(
            {**plain(made.key), "secret": made.secret, "owner_was_added": made.owner_was_added}
        )
        return
    key = made.key
    if made.owner_was_added:
        here.screen.say(f"{key.owner} is a member of {key.project} now: {key.role}")
    # The key alone on standard output, so that it can be piped to where it is kept.
    sys.stdout.write(f"{made.secret}\n")
    here.screen.say(f"key {key.id} of {key.owner}; it is not shown again")


@app.command("list", epilog=example("gridloom keys list --all"))
@verb
def list_keys(
    here: Here,
    owner: Annotated[str, typer.Option(help="Only those of this user.")] = "",
    ended: Annotated[
        bool, typer.Option("--all", help="Those that are revoked or have expired, too.")
    ] = False,
) -> None:
    """List your keys; an admin sees everybody's."""
    from gridloom.cli.access_nouns import KEY

    here.screen.many(KEY, here.client.access.keys(owner=owner, also_ended=ended))


@app.command(epilog=example("gridloom keys revoke 7f3k9q2m4x1z"))
@verb
def revoke(here: Here, key: KeyArgument) -> None:
    """End a key for good: within seconds it opens nothing any more."""
    from gridloom.cli.access_nouns import KEY

    revoked = here.client.access.revoke_key(key)
    here.screen.done(KEY, [revoked], lambda key: f"key {key.id} of {key.owner} is revoked")
