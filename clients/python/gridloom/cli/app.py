"""All verbs together. The platform distribution adds its own as entry points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridloom.cli import (
    audit,
    contexts,
    jobs,
    keys,
    login,
    members,
    mpi,
    platform,
    pools,
    projects,
    queues,
    scaling,
    top,
)
from gridloom.cli import run as run_verb
from gridloom.cli.arguments import example
from gridloom.cli.verb import Here, verb
from gridloom.errors import NotInstalledError
from gridloom.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Verbs that come with the platform distribution, and what each does.
PLATFORM_VERBS = {
    "doctor": "Check the stores of the platform of this machine.",
    "demo": "Run the main job: a model-selection study on real data.",
}
OWN_VERBS = frozenset(
    {
        *("run", "mpi", "scaling-study", "jobs", "projects", "queues", "functions", "pools"),
        *("top", "up", "down", "status", "contexts"),
        *("login", "logout", "whoami", "keys", "members", "audit"),
    }
)
ENTRY_POINTS = "gridloom.cli"

HELP = "Gridloom, the self-hosted HPC service: commands, Python functions and more in one queue."
EPILOG = (
    "Exit codes: 0 done, 1 the job failed, 2 wrong usage, 3 refused, 4 not reachable, 130"
    " interrupted; of `run`: the command's own, and 125 for what Gridloom could not do."
)


def _version(asked: bool) -> None:  # Typer's callback
    if asked:
        print(f"gridloom {VERSION}")
        raise typer.Exit


def gridloom(
    ctx: typer.Context,
    context: Annotated[str, typer.Option(help="Which platform: see `contexts`.")] = "",
    address: Annotated[str, typer.Option(help="Which platform, by its address.")] = "",
    home: Annotated[str, typer.Option(help="The embedded platform in this folder.")] = "",
    project: Annotated[str, typer.Option(help="Instead of the context's.")] = "",
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Say which.")
    ] = False,
) -> None:
    """Take what holds for every verb; it may also stand after the verb."""
    del version
    ctx.obj = {"context": context, "address": address, "home": home, "project": project}


def _missing(name: str) -> Callable[..., None]:
    """The verb of a distribution that is not installed: it says what to install."""

    @verb
    def missing(here: Here) -> None:
        del here
        raise NotInstalledError(
            f"`gridloom {name}` comes with the platform: pip install gridloom-platform"
        )

    missing.__doc__ = PLATFORM_VERBS[name]
    return missing


def _installed_verbs() -> Iterator[tuple[str, Callable[..., Any]]]:
    """What other distributions add under the entry-point group."""
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS):
        try:
            yield point.name, point.load()
        except ModuleNotFoundError:
            # Its distribution is there, but not all that this verb needs.
            continue


def build(verb_word: str | None = None) -> typer.Typer:
    """The command line. Other distributions are looked through for a verb that is not ours only.

    That takes longer than everything else here.
    """
    app = typer.Typer(
        name="gridloom",
        help=HELP,
        epilog=EPILOG,
        callback=gridloom,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    leaving = {"allow_interspersed_args": False}
    app.command(epilog=run_verb.EXAMPLE, context_settings=leaving)(run_verb.run)
    app.add_typer(mpi.app, name="mpi")
    app.command("scaling-study", epilog=scaling.EXAMPLE, context_settings=leaving)(
        scaling.scaling_study
    )
    app.add_typer(jobs.app, name="jobs")
    app.add_typer(projects.app, name="projects")
    app.add_typer(queues.app, name="queues")
    app.add_typer(pools.functions_app, name="functions")
    app.add_typer(pools.pools_app, name="pools")
    app.command(epilog=example("gridloom top --every 2s"))(top.top)
    app.command(epilog=example("gridloom up --cpus 8 --idle-timeout 1h"))(platform.up)
    app.command(epilog=example("gridloom down --keep"))(platform.down)
    app.command(epilog=example("gridloom status --json"))(platform.status)
    app.add_typer(contexts.app, name="contexts")
    app.command(epilog=example("gridloom login hpc.example.org < key"))(login.login)
    app.command(epilog=example("gridloom logout lab"))(login.logout)
    app.command(epilog=example("gridloom whoami"))(login.whoami)
    app.add_typer(keys.app, name="keys")
    app.add_typer(members.app, name="members")
    app.command(epilog=example("gridloom audit --action job. --since 2h"))(audit.audit)
    verbs = {name: _missing(name) for name in PLATFORM_VERBS}
    if verb_word is not None and verb_word not in OWN_VERBS:
        verbs |= dict(_installed_verbs())
    for name, function in verbs.items():
        app.command(name, epilog=example(f"gridloom {name}"))(function)
    return app
