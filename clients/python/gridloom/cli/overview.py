"""What is on: once (`gridloom status`), or live (`gridloom top`)."""

from __future__ import annotations

import sys
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

import typer

from gridloom import units
from gridloom.cli import exits
from gridloom.cli.documents import job_document, node_document, queue_document
from gridloom.cli.lifecycle import platform_document
from gridloom.cli.nouns import JOB, NODE, QUEUE
from gridloom.cli.screen import console, print_table, table_of
from gridloom.values import dataclass

if TYPE_CHECKING:
    from gridloom.cli.verb import Here
    from gridloom.client import Client
    from gridloom.jobs.info import JobInfo, NodeInfo, QueueInfo

_BAR_CELLS = 24
_NEARLY_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Overview:
    """The platform at one moment."""

    name: str
    nodes: list[NodeInfo]
    queues: list[QueueInfo]
    jobs: list[JobInfo]
    """What runs, then what waits."""


def look(client: Client, jobs_shown: int) -> Overview:
    """Look at everything once."""
    jobs: list[JobInfo] = []
    for state in ("active", "pending"):
        left = jobs_shown - len(jobs)
        jobs += [job.info for job in islice(client.jobs(state=state, limit=left), left)]
    return Overview(client.name, client.nodes(), client.queues(), jobs)


def show_status(here: Here) -> None:
    """The platform, its machines and its queues. Never starts one: exit code 4 without."""
    platform = here.embedded
    if platform is not None and platform.running() is None:
        if here.screen.as_json:
            here.screen.document({"platform": platform_document(platform, None)})
        else:
            here.screen.words([f"no platform runs on {platform.home}; `gridloom up` starts one"])
        raise typer.Exit(exits.UNREACHABLE)
    overview = look(here.client, jobs_shown=0)
    if here.screen.as_json:
        here.screen.document(_status_document(here, overview))
        return
    address = here.client.connection.endpoint().address
    print(f"Gridloom at {address}, {overview.name}\n")
    print_table(NODE.columns, overview.nodes)
    print()
    print_table(QUEUE.columns, overview.queues)


def show_top(here: Here, every_s: float) -> None:
    """A page that is drawn again and again until Ctrl-C; once where no terminal is."""
    if here.screen.as_json:
        overview = look(here.client, jobs_shown=1000)
        document = _status_document(here, overview)
        here.screen.document(document | {"jobs": [job_document(job) for job in overview.jobs]})
        return
    screen = console()
    if not sys.stdout.isatty():
        screen.print(page(look(here.client, jobs_shown=50), screen.width))
        return
    from rich.live import Live

    with Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            live.update(page(look(here.client, screen.height), screen.width), refresh=True)
            time.sleep(every_s)


def page(overview: Overview, width: int) -> Any:
    """Everything on one page."""
    from rich.console import Group
    from rich.text import Text

    waiting = sum(queue.queued_jobs for queue in overview.queues)
    running = sum(queue.running_jobs for queue in overview.queues)
    title = Text.assemble(
        ("gridloom top", "bold"), f"  {overview.name}  {running} running, {waiting} waiting\n"
    )
    bars = [bar for node in overview.nodes for bar in _node_bars(node)]
    queues = table_of(QUEUE.columns, overview.queues, width)
    jobs = (
        table_of(JOB.columns, overview.jobs, width)
        if overview.jobs
        else Text("nothing runs or waits")
    )
    return Group(title, *bars, Text(), queues, Text(), jobs)


def _node_bars(node: NodeInfo) -> list[Any]:
    """How much of each resource of a machine is in use."""
    from rich.text import Text

    bars = []
    for name, whole in sorted(node.capacity.items()):
        used = whole - node.free.get(name, 0)
        share = used / whole if whole else 0.0
        style = "red" if share > _NEARLY_FULL else "green"
        filled = round(share * _BAR_CELLS)
        amount = f"{_short(name, used)} of {_short(name, whole)}"
        bars.append(
            Text.assemble(
                f"{node.name:<16.16} {name:<8.8} ",
                ("━" * filled, style),
                ("━" * (_BAR_CELLS - filled), "dim"),
                f" {share:4.0%}  {amount}",
            )
        )
    return bars


def _short(name: str, value: int) -> str:
    if name == "memory":
        return units.format_bytes(value)
    return units.format_cpus(value) if name == "cpu" else str(value)


def _status_document(here: Here, overview: Overview) -> dict[str, Any]:
    platform = here.embedded
    record = platform.running() if platform else None
    address = here.client.connection.endpoint().address
    return {
        "platform": platform_document(platform, record) | {"running": True, "address": address},
        "nodes": [node_document(node) for node in overview.nodes],
        "queues": [queue_document(queue) for queue in overview.queues],
    }
