"""The demo's stages, in order. Another kind of work joins by another stage in `STAGES`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np
from gridloom.errors import GridloomError
from gridloom.values import dataclass

from gridloom_services.demo.clustering import NoMpiError, clustered, findings_of, scaled
from gridloom_services.demo.modules import PROGRAMS, users_module
from gridloom_services.demo.programs import fits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gridloom.client import Client
    from gridloom.jobs.handle import Job
    from gridloom.studies.study import ScalingStudy

# One thread a process, here and there: what is compared is one process with several.
ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
_POOL_PATIENCE_S = 60.0


@dataclass
class Study:
    """What the stages have found so far. Times are in seconds."""

    client: Client
    folder: Path
    workers: int
    progress: bool | None = None
    jobs: dict[str, Job] = field(default_factory=dict)
    serial: dict[str, Any] = field(default_factory=dict)
    fits: list[dict[str, Any]] = field(default_factory=list)
    wall_s: float = 0.0
    chosen: int = 0
    evaluation: dict[str, Any] = field(default_factory=dict)
    scaling: ScalingStudy | None = None
    """None: no MPI is there."""

    @property
    def speedup(self) -> float:
        """Serial time over time here, the same fits in the same run."""
        return float(self.serial["wall_s"]) / self.wall_s

    @property
    def efficiency(self) -> float:
        """Speedup a worker."""
        return self.speedup / self.workers

    def busy_shown(self) -> str:
        """How much of the time workers computed, and what of it the machine had a processor for.

        Where speedup falls short, this says whose it was: ours (workers that wait for work), or
        that of whatever else runs there.
        """
        wall, processor = fits.computing(self.fits)
        alone, alone_processor = fits.computing(self.serial["fits"])
        shares = (wall / (self.workers * self.wall_s), processor / wall, alone_processor / alone)
        busy, here, there = (f"{100 * share:.0f} %" for share in shares)
        return f"{busy} of the time; they had a processor for {here} of that (one process: {there})"

    @property
    def python(self) -> str:
        """The interpreter for command jobs: this one where they run on this machine."""
        return sys.executable if self.client.connection.endpoint().is_local else "python3"

    def document(self) -> dict[str, Any]:
        """What the report job draws."""
        return {"fits": self.fits, "wall_s": self.wall_s, "chosen": self.chosen}


@dataclass(frozen=True)
class Stage:
    """One step: what it says it does, and the doing, which returns what it found."""

    title: str
    run: Callable[[Study], str]


def submit(study: Study, name: str, *arguments: str, **options: Any) -> Job:
    """A command job that runs `programs/NAME.py`, sent along, in a fresh folder."""
    given = options.pop("files", {})
    programs = {f"{each}.py": PROGRAMS / f"{each}.py" for each in (name, "fits")}
    job = study.client.run(
        [study.python, f"{name}.py", *arguments],
        name=f"demo-{name}",
        files={**programs, **given},
        env=ENV,
        cpus=1,
        labels={"demo": "digits"},
        **options,
    )
    study.jobs[name] = job
    return job


def prepare(study: Study) -> str:
    """The data, and behind it the baseline, which starts when the data is there."""
    job = submit(study, "prepare", outputs=["digits.npz"])
    job.result()
    job.outputs["digits.npz"].save(study.folder / "digits.npz")
    return next(job.logs()).strip()


def baseline(study: Study) -> str:
    """The whole study as one job in one process: what the pool is measured against."""
    data = {"digits.npz": study.folder / "digits.npz"}
    job = submit(
        study, "serial", files=data, outputs=["serial.json"], after=[study.jobs["prepare"]]
    )
    job.result()
    study.serial = json.loads(job.outputs["serial.json"].read_text())
    return f"{len(study.serial['fits'])} fits in {study.serial['wall_s']:.1f} s"


def search(study: Study) -> str:
    """The same fits, mapped over a pool of warm workers that hold the data."""
    with np.load(study.folder / "digits.npz") as data:
        images, labels = data["images"], data["labels"]
    options: dict[str, Any] = {
        "workers": study.workers,
        "min_workers": study.workers,
        "env": ENV,
        "name": "digits",
    }
    own = users_module(study.folder, "fits")
    with study.client.pool(initializer=own.use, initargs=(images, labels), **options) as pool:
        _await_workers(pool, study.workers)
        started = time.perf_counter()
        done = pool.starmap(own.fit, fits.tasks(), progress=study.progress)
        study.fits = list(done)
        study.wall_s = time.perf_counter() - started
    _compare(study.fits, study.serial["fits"])
    means = fits.mean_scores(study.fits)
    study.chosen = int(np.argmax(means))
    chosen = fits.candidates()[study.chosen]
    return (
        f"{len(study.fits)} fits in {study.wall_s:.1f} s on {study.workers} workers, every score "
        f"as in one process; best: {_shown(chosen)}, {100 * means[study.chosen]:.1f} %"
    )


def evaluate(study: Study) -> str:
    """The chosen candidate on the third that nothing has seen, then the picture: two jobs."""
    data = {"digits.npz": study.folder / "digits.npz"}
    job = submit(study, "evaluate", str(study.chosen), files=data, outputs=["evaluation.json"])
    job.result()
    study.evaluation = json.loads(job.outputs["evaluation.json"].read_text())
    held_out = study.evaluation["held_out"]
    return f"{100 * study.evaluation['accuracy']:.1f} % of {held_out} held-out digits are right"


def report(study: Study) -> str:
    """The picture."""
    found = {
        "study.json": json.dumps(study.document()).encode(),
        "serial.json": json.dumps(study.serial).encode(),
        "evaluation.json": json.dumps(study.evaluation).encode(),
    }
    after = [study.jobs["serial"], study.jobs["evaluate"]]
    job = submit(study, "report", files=found, outputs=["report.png"], after=after)
    job.result()
    return str(job.outputs["report.png"].save(study.folder / "report.png"))


def scaling(study: Study) -> str:
    """k-means over ranks, and how it scales with their number; where there is no MPI, that."""
    with np.load(study.folder / "digits.npz") as data:
        images, labels = data["images"], data["labels"]
    try:
        found = clustered(study.client, study.folder, images, labels, study.workers)
    except NoMpiError as error:
        return f"skipped: {error}"
    study.scaling = scaled(study.client, found, images, study.workers, progress=study.progress)
    (study.folder / "scaling.png").write_bytes(study.scaling.png())
    return f"{found.said}; {findings_of(study.scaling)}"


STAGES = (
    Stage("prepare   command job", prepare),
    Stage("baseline  command job", baseline),
    Stage("study     function map", search),
    Stage("evaluate  command job", evaluate),
    Stage("report    command job", report),
    Stage("scaling   MPI function", scaling),
)


def _await_workers(pool: Any, workers: int) -> None:
    """Until the pool is whole: starting interpreters is no part of the comparison."""
    ends_at = time.monotonic() + _POOL_PATIENCE_S
    while (info := pool.info).workers < workers:
        if str(info.state) == "BROKEN" or time.monotonic() > ends_at:
            raise GridloomError(
                f"{pool.id} has {info.workers} of {workers} workers: {pool.explain()}"
            )
        time.sleep(0.05)


def _compare(here: list[dict[str, Any]], there: list[dict[str, Any]]) -> None:
    """The scores must be those of the serial run, fit by fit."""
    for one, other in zip(here, there, strict=True):
        same = ("candidate", "fold", "score")
        if any(one[name] != other[name] for name in same):
            raise AssertionError(f"the pool found {one}, the serial run {other}")


def _shown(candidate: dict[str, Any]) -> str:
    settings = ", ".join(f"{k}={v}" for k, v in candidate.items() if k != "model")
    return f"{candidate['model']}({settings})"
