"""`gridloom mpi run -n 8 -- CMD`: an MPI program as a job, ended as it ends."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gridloom.cli.arguments import example
from gridloom.cli.run import OPTIONS as JOB_OPTIONS
from gridloom.cli.verb import Here, Options, verb_with

app = typer.Typer(help="Run MPI programs.", no_args_is_help=True, rich_markup_mode=None)

# What ranks have no use for.
_OF_COMMANDS = {"shell", "array", "max_parallel", "replicas"}


def _text(*names: str, **more: Any) -> tuple[Any, Any]:
    return Annotated[str, typer.Option(*names, show_default=False, **more)], ""


OPTIONS: Options = {
    "ranks": (
        Annotated[int, typer.Option("--ranks", "-n", min=1, show_default=False, help="How many.")],
        ...,
    ),
    "ranks_per_node": (
        Annotated[
            int | None,
            typer.Option(
                min=1, show_default=False, help="On each node [as few nodes as hold all]."
            ),
        ],
        None,
    ),
    "implementation": _text("--implementation", help='"mpich" or "openmpi" [the platform\'s].'),
    "threads": (
        Annotated[int | None, typer.Option(min=1, show_default=False, help="Of each rank.")],
        None,
    ),
    "bind": (
        Annotated[
            bool, typer.Option("--bind", show_default=False, help="Keep each rank on own cores.")
        ],
        False,
    ),
    "profile": (
        Annotated[
            bool,
            typer.Option("--profile", show_default=False, help="For `gridloom jobs profile`."),
        ],
        False,
    ),
    "timeout": _text("--timeout", help="Ranks say where they are after it, and are ended."),
    "tag_output": (
        Annotated[
            bool,
            typer.Option("--tag-output", show_default=False, help="Show whose line each is."),
        ],
        False,
    ),
    **{word: option for word, option in JOB_OPTIONS.items() if word not in _OF_COMMANDS},
}


@app.command(
    epilog=example("gridloom mpi run -n 8 -- ./solver input.dat"),
    context_settings={"allow_interspersed_args": False},
)
@verb_with(OPTIONS)
def run(here: Here, **words: Any) -> None:
    """Run an MPI program as a job, as `mpiexec -n` would, and end as it ends.

    Its ranks' output is shown as it comes. The exit code is that of the rank that failed first;
    125 for what Gridloom itself could not do. Amounts (--cpus, --memory) are of one rank.
    """
    from gridloom.cli.mpi_running import run_mpi_job
    from gridloom.cli.running import Submission

    tag_output = words.pop("tag_output")
    asked = Submission(
        words,
        output_dir=words.pop("output_dir") or ".",
        detach=words.pop("detach"),
        stdin=words.pop("stdin"),
    )
    raise typer.Exit(run_mpi_job(here, asked, tag_output=tag_output))
