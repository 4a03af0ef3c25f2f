"""`gridloom run -- CMD`: submit a command, show what it writes, end as it ends."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gridloom.cli.arguments import example
from gridloom.cli.completion import complete_jobs, complete_queues
from gridloom.cli.verb import Here, Options, verb_with

EXAMPLE = example(
    "gridloom run --cpus 2 -f input.dat -o result.txt -- ./solver input.dat",
    'gridloom run --array "0-99%10" -- python fit.py --seed {index}',
)


def _text(*names: str, **more: Any) -> tuple[Any, Any]:
    return Annotated[str, typer.Option(*names, show_default=False, **more)], ""


def _number(kind: type, **more: Any) -> tuple[Any, Any]:
    return Annotated[kind | None, typer.Option(show_default=False, **more)], None


def _many(*names: str, **more: Any) -> tuple[Any, Any]:
    return Annotated[list[str], typer.Option(*names, show_default=False, **more)], []


def _flag(*names: str, **more: Any) -> tuple[Any, Any]:
    return Annotated[bool, typer.Option(*names, show_default=False, **more)], False


# Every word of `client.run` is an option, and some are more besides.
OPTIONS: Options = {
    "command": (Annotated[list[str], typer.Argument(metavar="CMD...", show_default=False)], ...),
    "cpus": _number(float, help="CPUs, fractions too [1]."),
    "memory": _text(help='Memory: "8GiB".'),
    "gpus": _number(int, help="GPUs."),
    "gpu_flavor": _text(help="Which kind of GPU."),
    "queue": _text(autocompletion=complete_queues, help="The queue to wait in."),
    "name": _text(help="What people call it."),
    "priority": _number(int, help="Higher goes first."),
    "label": _many("--label", "-l", metavar="KEY=VALUE", help="For --labels of other verbs."),
    "env": _many("--env", "-e", metavar="NAME[=VALUE]", help="Environment variable."),
    "file": _many("--file", "-f", metavar="[NAME=]PATH", help="File or folder to send along."),
    "output": _many("--output", "-o", metavar="PATH", help="File or pattern to bring back."),
    "output_dir": _text(metavar="DIR", help="Bring outputs there [the current folder]."),
    "image": _text(help="Container image; no effect where jobs are local processes."),
    "workdir": _text(metavar="DIR", help="Run there and not in a fresh folder."),
    "stdin": (
        Annotated[
            bool | None,
            typer.Option(
                "--stdin/--no-stdin",
                show_default=False,
                help="Send our input along [unless it is a terminal].",
            ),
        ],
        None,
    ),
    "shell": _flag("--shell", help="CMD is a line for /bin/sh."),
    "array": _text(metavar="RANGE", help='Many of it: "0-99%10"; {index} is its number.'),
    "max_parallel": _number(int, help="Elements of the array at once."),
    "replicas": _number(int, min=1, help="Processes that start together."),
    "time_limit": _text("--time-limit", "-t", help='It ends after "2h".'),
    "start_after": _text(metavar="TIME", help='ISO 8601, or from now: "+10m".'),
    "deadline": _text(metavar="TIME", help="Ends then, begun or not."),
    "after": _many(metavar="JOB", autocompletion=complete_jobs, help="Start after its success."),
    "after_any": _many(metavar="JOB", autocompletion=complete_jobs, help="After its end."),
    "after_failure": _many(metavar="JOB", autocompletion=complete_jobs, help="After its failure."),
    "retries": _number(int, min=0, help="Again after a failure of its own."),
    "hold": _flag("--hold", help="Wait for `jobs release`."),
    "request_id": _text(help="The same id is submitted once only."),
    "detach": _flag("--detach", "-d", help="Print the id and leave."),
    "validate_only": _flag("--validate-only", help="Check everything, submit nothing."),
}


@verb_with(OPTIONS)
def run(here: Here, **words: Any) -> None:
    """Run a command as a job, and end as it ends.

    Its output is shown as it comes, and its exit code is that of `gridloom run`. The program
    itself travels with the job where it is a file below this folder; other files are named with
    -f. What is piped in is read to its end and sent along, for CMD to read. Ctrl-C leaves the job
    running, a second one cancels it. The exit code is 125 for what Gridloom itself could not do.
    """
    from gridloom.cli.running import Submission, run_job

    asked = Submission(
        words,
        output_dir=words.pop("output_dir") or ".",
        detach=words.pop("detach"),
        stdin=words.pop("stdin"),
    )
    raise typer.Exit(run_job(here, asked))
