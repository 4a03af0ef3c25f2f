"""`gridloom members`: who has which role in a project."""

from __future__ import annotations

from typing import Annotated

import typer

from gridloom.cli.arguments import example
from gridloom.cli.verb import Here, verb

app = typer.Typer(
    help="Give and take roles in projects.", no_args_is_help=True, rich_markup_mode=None
)

UserArgument = Annotated[str, typer.Argument(metavar="USER", show_default=False)]
RoleArgument = Annotated[
    str,
    typer.Argument(
        metavar="ROLE", help="viewer, submitter, operator or admin.", show_default=False
    ),
]


@app.command("list", epilog=example("gridloom members list --project chem"))
@verb
def list_members(here: Here) -> None:
    """List the members of the project."""
    from gridloom.cli.access_nouns import MEMBER

    here.screen.many(MEMBER, here.client.access.members())


@app.command("set", epilog=example("gridloom members set ada operator --project chem"))
@verb
def set_member(here: Here, user: UserArgument, role: RoleArgument) -> None:
    """Give a role, or change it; keys follow within seconds."""
    from gridloom.cli.access_nouns import MEMBER

    member = here.client.access.set_member(user, role)
    here.screen.done(MEMBER, [member], lambda m: f"{m.user} is {m.role} in {m.project}")


@app.command(epilog=example("gridloom members remove ada --project chem"))
@verb
def remove(here: Here, user: UserArgument) -> None:
    """Take a role away: keys of this project open nothing any more."""
    here.client.access.remove_member(user)
    here.screen.settled({"user": user, "removed": True}, f"{user} is no member any more")
