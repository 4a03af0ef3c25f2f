"""MPI functions and programs in a scaling study: a job of as many ranks as the width says.

A run is found again by its request id: a study that was interrupted takes the job that it had
submitted, at work or over, and submits none twice.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gridloom.calls.definition import function_name, importable
from gridloom.errors import ConflictError, InternalError, UnpicklableError
from gridloom.jobs import operations as job_operations
from gridloom.jobs.states import JobState
from gridloom.mpi_jobs import operations
from gridloom.mpi_jobs.call import modules_of, pickled_call
from gridloom.mpi_jobs.face import program_draft
from gridloom.mpi_jobs.options import FUNCTION_WORDS, checked_options
from gridloom.mpi_jobs.request import FunctionCall, mpi_draft
from gridloom.studies.stretch import Stretch, cores_of
from gridloom.studies.texts import call_text, digest_of, same_everywhere
from gridloom.worker.measuring import timed_rank
from gridloom.worker.mpi.names import TIMES_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gridloom.client import Client
    from gridloom.jobs.info import JobInfo
    from gridloom.mpi_jobs.request import MpiDraft
    from gridloom.mpi_jobs.signature import MpiSignature
    from gridloom.options import Defaults
    from gridloom.studies.study import Run
    from gridloom.studies.work import Turn

_MOST_TRIES = 100
_TIMES = ".times"
# No finer do the times of files tell how long a program ran.
_FINEST_S = 0.004
# Stands for what is run where only the size of the job counts: nothing is sent along.
_NOTHING = ["/bin/true"]
_TRAVELS = {"files", "stdin", "outputs"}
_OF_A_RUN = {"ranks", "request_id", "validate_only", "reuse", "idle_timeout", "result"}


class _Ranks:
    """What functions and programs have in common."""

    unit = "ranks"

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = {word: value for word, value in options.items() if word not in _OF_A_RUN}

    def check(self, client: Client, width: int) -> None:
        """By the platform itself, which looks at a job of this size and takes none."""
        kept = {word: value for word, value in self._options.items() if word not in _TRAVELS}
        words = {**kept, "ranks": width, "validate_only": True}
        draft = program_draft(_NOTHING, cast("Any", words), client.defaults)
        client.connection.run(operations.submit(draft))

    def run(self, client: Client, turn: Turn) -> Run:
        """Submit or find it, wait, measure; a job that has failed before is not found."""
        info = self._submitted(client, turn)
        info = client.connection.run(job_operations.ended(info.id, None))
        if info.state is not JobState.SUCCEEDED:
            raise client.connection.run(operations.failure(info))
        stretch = self._stretch(client, info)
        return stretch.run(turn, info, turn.width * self._cores_each())

    def _submitted(self, client: Client, turn: Turn) -> JobInfo:
        for number in range(_MOST_TRIES):
            words = self._words(turn, number)
            draft = self._draft(turn.width, words, client.defaults)
            try:
                info = client.connection.run(operations.submit(draft))
            except ConflictError:  # an earlier try, of what the user has changed since
                continue
            if not info.state.is_final or info.state is JobState.SUCCEEDED:
                return info
        raise ConflictError(f"{turn.request_id} has failed {_MOST_TRIES} times")

    def _words(self, turn: Turn, number: int) -> dict[str, Any]:
        labels = {**self._options.get("labels", {}), **turn.labels}
        return {
            **self._options,
            "ranks": turn.width,
            "name": f"{turn.study}-{turn.width}",
            "labels": labels,
            "request_id": f"{turn.request_id}-{number}",
        }

    def _cores_each(self) -> int:
        """Processors that a rank keeps busy."""
        cpus = self._options.get("cpus")
        return self._options.get("threads") or max(1, int(cpus if cpus is not None else 1))

    def _draft(self, width: int, words: dict[str, Any], defaults: Defaults) -> MpiDraft:
        raise NotImplementedError

    def _stretch(self, client: Client, info: JobInfo) -> Stretch:
        raise NotImplementedError


class FunctionRanks(_Ranks):
    """An MPI function: timed between two barriers of its ranks."""

    def __init__(self, signature: MpiSignature, options: Mapping[str, Any]) -> None:
        of_function = dict(signature.function.call_options)
        checked_options({**of_function, **options, "ranks": 1}, FUNCTION_WORDS)
        super().__init__({**of_function, **options})
        self._signature = signature

    @property
    def title(self) -> str:
        """The call as people write it."""
        said = self._signature
        return call_text(said.function.name, said.args, said.kwargs)

    def text(self, width: int) -> str:
        """The call with all that it is given, and a digest of the function's own options."""
        del width
        own = {**self._signature.function.call_options}
        how = sorted((word, value) for word, value in own.items() if word not in _OF_A_RUN)
        mark = f" ({digest_of(repr(how))})" if how else ""
        return same_everywhere(repr(self._signature)) + mark

    def _draft(self, width: int, words: dict[str, Any], defaults: Defaults) -> MpiDraft:
        del width
        return mpi_draft(self._call(), words, defaults, Path.cwd())

    def _call(self) -> FunctionCall:
        said, function = self._signature, self._signature.function.function
        traveller: Any = importable(function) or function
        try:
            data = pickled_call(timed_rank, (traveller, said.args, said.kwargs), {})
        except UnpicklableError:
            pickled_call(function, said.args, said.kwargs)  # names the argument as the user does
            raise
        return FunctionCall(function_name(function), data, modules_of(function))

    def _stretch(self, client: Client, info: JobInfo) -> Stretch:
        ranks = client.connection.run(operations.results(info))
        return Stretch(
            ready_at=max(rank["ready_at"] for rank in ranks),
            seconds=max(rank["seconds"] for rank in ranks),
            cores=cores_of(ranks),
            hosts=len({rank["host"] for rank in ranks}),
        )


class ProgramRanks(_Ranks):
    """An MPI program: timed from when its last rank is executed until the last one has ended.

    `{width}` in its words is the width.
    """

    def __init__(self, command: Any, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._command = command

    @property
    def title(self) -> str:
        """The command line, with a place for the width."""
        return self._command if isinstance(self._command, str) else shlex.join(self._command)

    def text(self, width: int) -> str:
        """The same: the width is in its place."""
        del width
        return self.title

    def _draft(self, width: int, words: dict[str, Any], defaults: Defaults) -> MpiDraft:
        asked, environment = words.get("outputs", ()), dict(words.get("env", {}))
        outputs = [asked] if isinstance(asked, str) else list(asked)
        if request_id := words.get("request_id"):
            environment[TIMES_VARIABLE] = _times_path(request_id)
            outputs.append(_times_path(request_id))
        given = {**words, "env": environment, "outputs": outputs}
        return program_draft(self._filled(width), cast("Any", given), defaults)

    def _filled(self, width: int) -> Any:
        if isinstance(self._command, str):
            return self._command.replace("{width}", str(width))
        return [str(word).replace("{width}", str(width)) for word in self._command]

    def _stretch(self, client: Client, info: JobInfo) -> Stretch:
        hosts = [json.loads(data) for data in _times(client, info)]
        ranks = [rank for host in hosts for rank in host["ranks"]]
        if not ranks:
            raise InternalError(f"{info.id} succeeded and left no times of its ranks")
        ready_at = max(rank["began_at"] for rank in ranks)
        over_at = max(rank["ended_at"] for rank in ranks)
        return Stretch(ready_at, max(over_at - ready_at, _FINEST_S), cores_of(hosts), len(hosts))


def _times(client: Client, info: JobInfo) -> Iterator[bytes]:
    """What each host's agent has left."""
    from gridloom.objects import ObjectsClient

    for output in info.outputs:
        if output.path.endswith(_TIMES):
            yield bytes(ObjectsClient(client.connection).get_bytes(output.digest))


def _times_path(request_id: str) -> str:
    return f".gridloom-mpi/{request_id}{_TIMES}"
