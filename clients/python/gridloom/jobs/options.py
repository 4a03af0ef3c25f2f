"""The words of `client.run`, once for every face: sync, asyncio, batches and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from gridloom.jobs.array import Elements
    from gridloom.jobs.dependencies import Dependencies
    from gridloom.jobs.role import Command, Files, Role
    from gridloom.retries import Retries
    from gridloom.units import Duration, Memory, Point


class JobOptions(TypedDict, total=False):
    """What `client.run(command, ...)` takes; what is not said, the platform chooses.

    Amounts are of each replica. Points in time have a zone. `after` and the like are handles or
    ids; `files` are paths, or `{name in the job: path or bytes}`; `stdin` is a path, or bytes;
    `volumes` are `{path: claim}`, read-only with ":ro" behind the claim; `secrets` are `{variable
    or path of a file: "NAME/KEY"}` of what the cluster keeps: their content never comes here.
    `array` is a range, numbers or "0-99%10", with `{index}` in words and environment for an
    element's own number.
    """

    # What one replica needs.
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
    shell: bool
    # How many.
    array: Elements
    max_parallel: int
    replicas: int
    roles: Sequence[Role]
    # How it is asked.
    request_id: str
    validate_only: bool


class JobRequest(JobOptions, total=False):
    """One job of `client.run_many`: the words of `run`, the command among them."""

    command: Command


OPTION_NAMES: Iterable[str] = tuple(JobOptions.__annotations__)
