"""Arguments that several verbs take."""

from __future__ import annotations

from typing import Annotated

import typer

from gridloom.cli.completion import complete_jobs

JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="Id of a job, or of one element of an array (job_....7).",
        autocompletion=complete_jobs,
        show_default=False,
    ),
]
JobsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB...",
        help="Ids of jobs, or of elements of arrays.",
        autocompletion=complete_jobs,
        show_default=False,
    ),
]
RoleOption = Annotated[str, typer.Option(help="Only this role.")]
IndexOption = Annotated[int | None, typer.Option(help="Only the replica with this number.")]


def example(*lines: str) -> str:
    """An example below a verb's help, its lines as they are."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
