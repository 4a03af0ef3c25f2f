"""`gridloom scaling-study -- CMD`: the same work at several widths, and how it scales."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gridloom.cli.arguments import example
from gridloom.cli.mpi import OPTIONS as RANK_OPTIONS
from gridloom.cli.verb import Here, Options, verb_with

EXAMPLE = example(
    "gridloom scaling-study --widths 1,2,4 --repeats 3 -- ./solver input.dat",
    "gridloom scaling-study --mode weak -- ./solver --cells {width}000",
    "gridloom scaling-study --spec study.py:fits --name fits --out figures",
)

# Of what runs take, all but that which is of one job only.
_OF_RUNS = (
    *("implementation", "threads", "bind", "timeout", "cpus", "memory", "gpus", "gpu_flavor"),
    *("queue", "priority", "label", "env", "file", "image", "workdir", "time_limit"),
)


def _text(*names: str, default: str = "", **more: Any) -> tuple[Any, Any]:
    return Annotated[str, typer.Option(*names, show_default=bool(default), **more)], default


OPTIONS: Options = {
    "command": (
        Annotated[list[str] | None, typer.Argument(metavar="CMD...", show_default=False)],
        None,
    ),
    "widths": _text("--widths", "-w", default="1,2,4,8", help="Numbers of ranks or workers."),
    "mode": _text(
        default="strong", help='"weak": the work grows with the width, {width} stands for it.'
    ),
    "repeats": (Annotated[int, typer.Option(min=1, help="Runs of each width.")], 5),
    "name": _text(help="Begun again under it, only missing runs are made."),
    "out": _text(metavar="DIR", default=".", help="Folder for the table and the plot."),
    "bound": (Annotated[float, typer.Option(help="The efficiency that is asked for.")], 0.7),
    "spec": _text(
        metavar="FILE.py:NAME", help="Not a CMD: what this name in a Python file stands for."
    ),
    **{word: RANK_OPTIONS[word] for word in _OF_RUNS},
}


@verb_with(OPTIONS)
def scaling_study(here: Here, **words: Any) -> None:
    """See how an MPI program, or a function of a Python file, scales with its width.

    Runs go through the queue, one after the other. Times are of the work itself, without waiting
    and starting. Ctrl-C leaves what was measured: the same name goes on from there.
    """
    from gridloom.cli.scaling_running import show_study

    show_study(here, words)
