"""The files that a job brought back: a mapping from names to files that can be read or saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from gridloom.errors import OutputNotFoundError

if TYPE_CHECKING:
    import os

    from gridloom.channel import Connection
    from gridloom.jobs.info import JobInfo, OutputInfo

# What ranks leave for the SDK is no output of the user's.
OWN_FOLDERS = (".gridloom-mpi/", ".gridloom-profile/")


def output_names(job: JobInfo) -> dict[str, OutputInfo]:
    """What each file is called: its path where one process wrote all of them.

    Else whose it is comes first: "7/plot.png" for element 7 of an array, "worker.2/plot.png" for a
    replica of a gang.
    """
    is_array = job.elements > 0 and job.element is None
    is_gang = len(job.roles) > 1 or any(role.replicas > 1 for role in job.roles)
    named = {}
    for output in job.outputs:
        if output.path.startswith(OWN_FOLDERS):
            continue
        element = f"{output.element}/" if is_array else ""
        replica = f"{output.role}.{output.index}/" if is_gang else ""
        named[f"{element}{replica}{output.path}"] = output
    return named


def target_of(name: str, to: str | os.PathLike[str]) -> Path:
    """Where `save(to)` puts the file: below a folder that exists (or ends in "/"), else there."""
    path = Path(to)
    if path.is_dir() or str(to).endswith("/"):
        return path / Path(name).name
    return path


def fetch(connection: Connection, output: OutputInfo, target: Path) -> Path:
    """Bring the file, with its permissions; it appears whole or not at all."""
    from gridloom.objects import ObjectsClient

    target.parent.mkdir(parents=True, exist_ok=True)
    ObjectsClient(connection).get_file(output.digest, target)
    target.chmod(output.mode)
    return target


def content(connection: Connection, output: OutputInfo) -> bytes:
    """Bring the file's bytes."""
    from gridloom.objects import ObjectsClient

    return bytes(ObjectsClient(connection).get_bytes(output.digest))


class Output:
    """One file on the platform."""

    def __init__(self, connection: Connection, name: str, info: OutputInfo) -> None:
        self._connection = connection
        self.name = name
        self.info = info

    def __repr__(self) -> str:
        return f"<Output {self.name} {self.info.size_bytes} bytes>"

    @property
    def size_bytes(self) -> int:
        """How large it is."""
        return self.info.size_bytes

    def save(self, to: str | os.PathLike[str] = ".") -> Path:
        """Write it into the folder `to`, or to the file `to`; answers with where it is."""
        return fetch(self._connection, self.info, target_of(self.name, to))

    def read_bytes(self) -> bytes:
        """Its content."""
        return content(self._connection, self.info)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Its content as text."""
        return self.read_bytes().decode(encoding)


OutputT_co = TypeVar("OutputT_co", covariant=True)


class NamedOutputs(Mapping[str, OutputT_co], Generic[OutputT_co]):
    """Files by name. A plain path is enough where one file only has it."""

    def __init__(self, job: JobInfo, by_name: Mapping[str, OutputT_co]) -> None:
        self._job = job
        self._by_name = by_name

    def __getitem__(self, name: str) -> OutputT_co:
        if name in self._by_name:
            return self._by_name[name]
        fitting = [key for key in self._by_name if key.endswith(f"/{name}")]
        if len(fitting) == 1:
            return self._by_name[fitting[0]]
        raise OutputNotFoundError(self._complaint(name, fitting), given=name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"<Outputs of {self._job.id}: {', '.join(self._by_name) or 'none'}>"

    def _complaint(self, name: str, fitting: list[str]) -> str:
        if fitting:
            return f'several outputs are called "{name}": {", ".join(fitting)}'
        if not self._job.state.is_final:
            return f"{self._job.id} is {self._job.state}: its outputs come when it is over"
        return f'{self._job.id} has no output "{name}"; it has: {", ".join(self) or "none"}'


class Outputs(NamedOutputs[Output]):
    """What a job brought back."""

    def __init__(self, connection: Connection, job: JobInfo) -> None:
        named = output_names(job)
        super().__init__(job, {name: Output(connection, name, named[name]) for name in named})

    def save(self, folder: str | os.PathLike[str] = ".") -> list[Path]:
        """Write all of them below the folder, by their names; answers with where they are."""
        return [output.save(Path(folder) / name) for name, output in self.items()]
