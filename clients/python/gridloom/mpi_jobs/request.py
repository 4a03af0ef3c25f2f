"""From the words to the MPI job that travels: pure but for the files, which are sent afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from gridloom import units
from gridloom.api.mpi.v1 import mpi_pb2
from gridloom.calls.options import PYTHON_VERSION
from gridloom.jobs.request import job_draft
from gridloom.jobs.times import duration_of
from gridloom.mpi_jobs.options import RANK_WORDS
from gridloom.profiles.options import profile_kind
from gridloom.values import dataclass
from gridloom.worker.profiling.words import FOLDER, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gridloom.api.scheduler.v1 import job_pb2
    from gridloom.jobs.options import JobOptions
    from gridloom.jobs.request import JobDraft
    from gridloom.jobs.role import Command
    from gridloom.options import Defaults

# Stands for a function where a command is asked for; it is taken out again.
_NO_COMMAND = ("/",)


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function with its arguments, as it travels. `bundle`: the user's own modules, a zip."""

    name: str
    call: bytes
    bundle: bytes = b""
    root_only: bool = False


@dataclass(frozen=True, slots=True)
class MpiDraft:
    """An MPI job whose files are not sent yet."""

    job: JobDraft
    options: Mapping[str, Any]
    function: FunctionCall | None = None

    def spec(self, job: job_pb2.JobSpec, python: str) -> mpi_pb2.MpiJobSpec:
        """The whole, but for the objects of a function; `job` is `self.job` with its files."""
        options = self.options
        spec = mpi_pb2.MpiJobSpec(
            job=job,
            rank=job.roles[0],
            implementation=options.get("implementation", ""),
            threads=options.get("threads", 0),
            python=python,
            python_version=PYTHON_VERSION,
        )
        del spec.job.roles[:]
        spec.job.kind = ""
        spec.rank.replicas = options["ranks"]
        spec.rank.per_node = options.get("ranks_per_node") or 0
        if kind := profile_kind(options.get("profile")):
            spec.rank.env[VARIABLE] = kind
            spec.rank.outputs.append(f"{FOLDER}/*")
        if options.get("bind"):
            spec.binding = mpi_pb2.MPI_BINDING_CORE
        for word in ("timeout", "idle_timeout"):
            if options.get(word) is not None:
                seconds = units.seconds(options[word], field=word)
                getattr(spec, word).CopyFrom(duration_of(seconds))
        if self.function is not None:
            del spec.rank.command[:]
            spec.function.name = self.function.name
            spec.function.root_only = self.function.root_only
        return spec


def mpi_draft(
    program: Command | FunctionCall, options: Mapping[str, Any], defaults: Defaults, folder: Path
) -> MpiDraft:
    """The job that these words, which were checked, ask for."""
    function = program if isinstance(program, FunctionCall) else None
    said: dict[str, Any] = {
        word: value
        for word, value in options.items()
        if word not in {*RANK_WORDS, "result", "reuse", "validate_only", "idle_timeout"}
    }
    if function is not None:
        said.setdefault("name", function.name)
    command = _NO_COMMAND if isinstance(program, FunctionCall) else program
    job = job_draft(
        command,
        cast("JobOptions", said),
        folder=folder,
        project=defaults.project,
        queue=defaults.queue,
    )
    return MpiDraft(job, options, function)
