"""The words of `client.mpi.run`, `@gridloom.mpi` and `client.mpi.world`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from gridloom import units
from gridloom.errors import InvalidRequestError
from gridloom.options import check_choice, check_options
from gridloom.profiles.options import profile_kind
from gridloom.worker.mpi.spec import IMPLEMENTATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gridloom.jobs.dependencies import Dependencies
    from gridloom.jobs.role import Files
    from gridloom.retries import Retries
    from gridloom.units import Duration, Memory, Point


class MpiOptions(TypedDict, total=False):
    """What MPI jobs take: the words of `client.run`, of one rank each, and these.

    With `ranks_per_node` so many ranks are on each node, on the last one the rest; else the plan
    puts them on as few nodes as it can. `threads` is how many each rank may use (its whole CPUs),
    `bind` keeps each on cores of its own; `implementation` is "mpich" or "openmpi", whose ranks are
    all on one node. After `timeout` each rank says where it is, and all are ended. `stdin` is for
    rank 0. With `profile` (True or "cprofile", or "sampling") each rank leaves one for
    `job.profile()`.
    """

    ranks: int
    ranks_per_node: int
    implementation: str
    threads: int
    bind: bool
    timeout: Duration
    profile: bool | str
    # What one rank needs.
    cpus: float
    memory: Memory
    gpus: int
    gpu_flavor: str
    resources: Mapping[str, int]
    # Where it waits and how it is called.
    queue: str
    project: str
    priority: int
    labels: Mapping[str, object]
    name: str
    # When.
    time_limit: Duration
    deadline: Point
    start_after: Point
    after: Dependencies
    after_any: Dependencies
    after_failure: Dependencies
    hold: bool
    retries: int | Retries
    # What it runs in.
    env: Mapping[str, object]
    files: Files
    stdin: str | Path | bytes
    outputs: str | Sequence[str]
    image: str
    workdir: str
    volumes: Mapping[str, str]
    secrets: Mapping[str, str]
    # How it is asked.
    request_id: str
    validate_only: bool


class MpiFunctionOptions(MpiOptions, total=False):
    """And of functions: `result` is "all" (a list by rank) or "root" (rank 0's).

    With `reuse` the ranks stay for the next call, until none has come for `idle_timeout` (a
    minute).
    """

    result: str
    reuse: bool
    idle_timeout: Duration


class WorldOptions(MpiOptions, total=False):
    """And of worlds: they end when no call has come for `idle_timeout` (10 minutes)."""

    idle_timeout: Duration


RANK_WORDS = frozenset(
    {"ranks", "ranks_per_node", "implementation", "threads", "bind", "timeout", "profile"}
)
PROGRAM_WORDS = frozenset(MpiOptions.__annotations__)
FUNCTION_WORDS = frozenset(MpiFunctionOptions.__annotations__)
WORLD_WORDS = frozenset(WorldOptions.__annotations__)
RESULTS = ("all", "root")


def checked_options(given: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    """The options; refused where one is misspelt or can hold nowhere."""
    check_options(given, allowed)
    if "ranks" not in given:
        raise InvalidRequestError("how many ranks? Give ranks=4, say", field="ranks")
    units.whole(given["ranks"], field="ranks", least=1)
    if given.get("ranks_per_node") is not None:
        most = given["ranks"]
        units.whole(given["ranks_per_node"], field="ranks_per_node", least=1, most=most)
    units.whole(given.get("threads", 0), field="threads")
    if "implementation" in given:
        check_choice("implementation", given["implementation"], IMPLEMENTATIONS)
    profile_kind(given.get("profile"))
    check_choice("result", given.get("result", "all"), RESULTS)
    for word in ("timeout", "idle_timeout"):
        if given.get(word) is not None:
            units.seconds(given[word], field=word, least=0.001)
    return dict(given)
