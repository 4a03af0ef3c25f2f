"""What the `mpi` service tells the rank agents of a job: one value, in their environment."""

from __future__ import annotations

import json
from typing import NamedTuple

SPEC_VARIABLE = "GRIDLOOM_MPI_SPEC"

# Each has programs, a library and an ABI of its own; the names are those that users give.
MPICH = "mpich"
OPENMPI = "openmpi"
IMPLEMENTATIONS = (MPICH, OPENMPI)


class LaunchSpec(NamedTuple):
    """How to launch the ranks. Paths are below the working folder.

    Either there is a `command`, or the `call` of a function, a pickle. A `timeout_s` counts from
    the agent's start, one of the ranks themselves from the launch, when all hosts are there. With
    `idle_timeout_s` the ranks stay for calls that come through the door.
    """

    ranks: int
    implementation: str
    command: list[str]
    threads: int = 1
    is_bound: bool = False
    timeout_s: float | None = None
    # How people call it: "time-out of 5 s", or "time limit of 60 s" where it is the job's.
    limit: str = ""
    is_of_ranks: bool = False
    function: str = ""
    call: str = ""
    bundle: str = ""
    root_only: bool = False
    # Where the agent leaves what became of the ranks.
    report: str = ""
    idle_timeout_s: float | None = None
    # Of several hosts: the port of their agents, and how long these wait for each other.
    agent_port: int = 8471
    gather_s: float = 600.0

    @property
    def is_function(self) -> bool:
        """The ranks run a function of Python, not a program."""
        return bool(self.function)

    @property
    def is_world(self) -> bool:
        """The ranks stay for calls to come."""
        return self.idle_timeout_s is not None


def to_text(spec: LaunchSpec) -> str:
    """As it travels."""
    return json.dumps(spec._asdict(), separators=(",", ":"))


def from_text(text: str) -> LaunchSpec:
    """Read back what `to_text` gave; what this version does not know is left out."""
    values = json.loads(text)
    return LaunchSpec(**{name: values[name] for name in LaunchSpec._fields if name in values})
