"""`gridloom projects`: who shares the platform, and what each may hold of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridloom.cli.arguments import example
from gridloom.cli.verb import Here, verb

if TYPE_CHECKING:
    from gridloom.jobs.projects import ProjectOptions

app = typer.Typer(help="List and change projects.", no_args_is_help=True, rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(metavar="PROJECT", show_default=False)]
QuotaOption = Annotated[
    list[str],
    typer.Option(
        metavar="NAME=AMOUNT", help="cpus=512, memory=2TiB, ...: what its queues may hold together."
    ),
]
NoQuotaOption = Annotated[bool, typer.Option("--no-quota", help="Take its quota away.")]
DescriptionOption = Annotated[str | None, typer.Option(help="Who and what it is for.")]


@app.command("list", epilog=example("gridloom projects list"))
@verb
def list_projects(here: Here) -> None:
    """List projects with what waits, runs and is used."""
    from gridloom.cli.nouns import PROJECT

    here.screen.many(PROJECT, here.client.projects())


@app.command(epilog=example("gridloom projects show chem"))
@verb
def show(here: Here, name: NameArgument) -> None:
    """Show one project."""
    from gridloom.cli.nouns import PROJECT

    here.screen.many(PROJECT, [here.client.project(name)])


@app.command(epilog=example("gridloom projects create chem --quota cpus=512 --quota memory=2TiB"))
@verb
def create(
    here: Here,
    name: NameArgument,
    quota: QuotaOption = [],  # noqa: B006  # Typer's way to make it optional; never changed
    description: DescriptionOption = None,
) -> None:
    """Make a project and its queue "default"."""
    from gridloom.cli.nouns import PROJECT

    made = here.client.create_project(name, **_words(quota, description))
    here.screen.done(PROJECT, [made], lambda project: f"project {project.name} is there")


@app.command("set", epilog=example("gridloom projects set chem --quota cpus=256"))
@verb
def set_project(
    here: Here,
    name: NameArgument,
    quota: QuotaOption = [],  # noqa: B006
    no_quota: NoQuotaOption = False,
    description: DescriptionOption = None,
) -> None:
    """Change what is named of a project; the rest stays."""
    from gridloom.cli.nouns import PROJECT

    words = _words(quota, description)
    if no_quota:
        words["quota"] = {}
    changed = here.client.set_project(name, **words)
    here.screen.done(PROJECT, [changed], lambda project: f"project {project.name} is changed")


@app.command(epilog=example("gridloom projects delete chem"))
@verb
def delete(here: Here, name: NameArgument) -> None:
    """Remove a project and its queues, in which nothing is."""
    here.client.delete_project(name)
    here.screen.settled({"name": name, "deleted": True}, f"project {name} is gone")


def _words(quota: list[str], description: str | None) -> ProjectOptions:
    """What was said, as the words of `client.create_project`."""
    from gridloom.cli.running import pairs

    said: dict[str, Any] = {
        "quota": pairs(quota, "--quota") or None,
        "description": description,
    }
    return {word: value for word, value in said.items() if value is not None}  # type: ignore[return-value]
