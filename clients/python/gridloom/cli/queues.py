"""`gridloom queues`: where jobs wait, and what they may use together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridloom.cli.arguments import example
from gridloom.cli.completion import complete_queues
from gridloom.cli.verb import Here, verb

if TYPE_CHECKING:
    from gridloom.jobs.queues import QueueOptions

app = typer.Typer(help="List and change queues.", no_args_is_help=True, rich_markup_mode=None)

QueueArgument = Annotated[
    str,
    typer.Argument(metavar="QUEUE", autocompletion=complete_queues, show_default=False),
]
PriorityOption = Annotated[int | None, typer.Option(help="Added to each of its jobs'.")]
QuotaOption = Annotated[
    list[str],
    typer.Option(metavar="NAME=AMOUNT", help="cpus=8, memory=64GiB, ...: what may run at once."),
]
DefaultLimitOption = Annotated[str, typer.Option(help='Of jobs that say none: "1h".')]
MaxLimitOption = Annotated[str, typer.Option(help="The longest that a job may ask for.")]
ClosedOption = Annotated[
    bool | None, typer.Option("--closed/--open", help="Whether it accepts and starts jobs.")
]
DescriptionOption = Annotated[str | None, typer.Option(help="What it is for.")]


@app.command("list", epilog=example("gridloom queues list"))
@verb
def list_queues(here: Here) -> None:
    """List queues with what waits, runs and is used."""
    from gridloom.cli.nouns import QUEUE

    here.screen.many(QUEUE, here.client.queues())


@app.command(epilog=example("gridloom queues create fast --priority 10 --quota cpus=8"))
@verb
def create(
    here: Here,
    queue: QueueArgument,
    priority: PriorityOption = None,
    quota: QuotaOption = [],  # noqa: B006  # Typer's way to make it optional; never changed
    default_time_limit: DefaultLimitOption = "",
    max_time_limit: MaxLimitOption = "",
    closed: ClosedOption = None,
    description: DescriptionOption = None,
) -> None:
    """Make a queue."""
    from gridloom.cli.nouns import QUEUE

    words = _words(priority, quota, default_time_limit, max_time_limit, closed, description)
    made = here.client.create_queue(queue, **words)
    here.screen.done(QUEUE, [made], lambda queue: f"queue {queue.name} is there")


@app.command("set", epilog=example("gridloom queues set fast --closed"))
@verb
def set_queue(
    here: Here,
    queue: QueueArgument,
    priority: PriorityOption = None,
    quota: QuotaOption = [],  # noqa: B006
    default_time_limit: DefaultLimitOption = "",
    max_time_limit: MaxLimitOption = "",
    closed: ClosedOption = None,
    description: DescriptionOption = None,
) -> None:
    """Change what is named of a queue; the rest stays."""
    from gridloom.cli.nouns import QUEUE

    words = _words(priority, quota, default_time_limit, max_time_limit, closed, description)
    changed = here.client.set_queue(queue, **words)
    here.screen.done(QUEUE, [changed], lambda queue: f"queue {queue.name} is changed")


@app.command(epilog=example("gridloom queues delete fast"))
@verb
def delete(here: Here, queue: QueueArgument) -> None:
    """Remove a queue in which nothing is."""
    here.client.delete_queue(queue)
    here.screen.settled({"name": queue, "deleted": True}, f"queue {queue} is gone")


def _words(
    priority: int | None,
    quota: list[str],
    default_time_limit: str,
    max_time_limit: str,
    closed: bool | None,  # three states: closed, open, not said
    description: str | None,
) -> QueueOptions:
    """What was said, as the words of `client.create_queue`."""
    from gridloom.cli.running import pairs

    said: dict[str, Any] = {
        "priority": priority,
        "quota": pairs(quota, "--quota") or None,
        "default_time_limit": default_time_limit or None,
        "max_time_limit": max_time_limit or None,
        "closed": closed,
        "description": description,
    }
    return {word: value for word, value in said.items() if value is not None}  # type: ignore[return-value]
