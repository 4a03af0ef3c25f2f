"""`gridloom demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from gridloom.cli.screen import console
from gridloom.cli.verb import Here, verb
from gridloom.errors import GridloomError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom_services.demo.stages import Study

OutOption = Annotated[Path, typer.Option("--out", help="Folder for the report and the plot.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", help="Workers of the pool; as many as processors if not given.")
]


@verb
def demo(here: Here, out: OutOption = Path("gridloom-demo"), workers: WorkersOption = 0) -> None:
    """Run the main job: a model-selection study on real data."""
    study = _new_study(here, out, workers)
    from gridloom_services.demo.stages import STAGES

    screen = console()
    screen.print(
        f"[bold]Which model reads handwriting best?[/] 1,797 digits, {_fits()} cross-validated "
        f"fits, {study.workers} workers"
    )
    started = time.perf_counter()
    for stage in STAGES:
        screen.print(f"[dim]{time.perf_counter() - started:5.1f} s[/]  [bold]{stage.title}[/]")
        screen.print(f"         {stage.run(study)}")
    _show_jobs(study)
    _show_figures(study)


def _new_study(here: Here, out: Path, workers: int) -> Study:
    try:
        from gridloom_services.demo.stages import Study
    except ModuleNotFoundError as error:
        raise GridloomError(
            f"the demo needs {error.name}: pip install 'gridloom-platform\\[demo]'"
        ) from error
    out.mkdir(parents=True, exist_ok=True)
    cpus = sum(node.capacity.get("cpu", 0) for node in here.client.nodes()) // 1000
    return Study(here.client, out.absolute(), workers or max(cpus, 1))


def _fits() -> int:
    from gridloom_services.demo.programs import fits

    return len(fits.tasks())


def _show_jobs(study: Study) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in ("job", "name", "state", "ran", "processor", "memory"):
        table.add_column(title, justify="left" if title in {"job", "name", "state"} else "right")
    for job in study.jobs.values():
        info = job.refresh()
        table.add_row(
            info.id,
            info.name,
            str(info.state),
            f"{info.run_s() or 0.0:.1f} s",
            f"{info.cpu_seconds:.1f} s",
            f"{info.peak_memory_bytes / 2**20:.0f} MiB",
        )
    console().print()
    console().print(table)


def _show_figures(study: Study) -> None:
    rows = (
        ("one process", f"{study.serial['wall_s']:.1f} s"),
        (f"{study.workers} workers", f"{study.wall_s:.1f} s"),
        ("speedup", f"{study.speedup:.2f}"),
        ("efficiency", f"{100 * study.efficiency:.0f} %"),
        ("workers busy", study.busy_shown()),
        ("accuracy", f"{100 * study.evaluation['accuracy']:.1f} % of digits never seen"),
        ("plot", str(study.folder / "report.png")),
        *_scaling_figures(study),
    )
    screen = console()
    screen.print()
    for name, value in rows:
        screen.print(f"[bold]{name:<14}[/] {value}")


def _scaling_figures(study: Study) -> Iterator[tuple[str, str]]:
    found = study.scaling
    if found is None:
        return
    from gridloom.studies.words import efficiency_text

    widest = found.points[-1]
    yield f"{widest.width} ranks", f"speedup {widest.speedup:.2f} over {found.reference.width}"
    yield "efficiency", efficiency_text(found)
    yield "plot", str(study.folder / "scaling.png")
