"""The rank agent, the command of every MPI job: launches the ranks, tells what became of them.

`python -m gridloom.worker.rank_agent` under a supervisor or in a pod, with `GRIDLOOM_MPI_SPEC`. It
writes what ranks write as lines with their rank's mark, leaves a report, and ends with the exit
code of the rank that failed first. When it ends, whoever started it ends whatever is still there.

Where the ranks are on several hosts, each has an agent (`gridloom.worker.mpi.gang`): the first
launches and reports, each writes what its own ranks write.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gridloom.worker.mpi.agent import Agent
    from gridloom.worker.mpi.spec import LaunchSpec


def main() -> int:
    """Run the job of the environment; the exit code."""
    from gridloom.worker.mpi.spec import SPEC_VARIABLE, from_text

    spec = from_text(os.environ[SPEC_VARIABLE])
    if os.environ.get("GRIDLOOM_HOSTS"):
        from gridloom.worker.mpi.gang.choice import agent_of_host

        return agent_of_host(spec, os.environ).run()
    return _agent(spec).run()


def _agent(spec: LaunchSpec) -> Agent:
    """Of a job on one host."""
    if spec.is_world:
        from gridloom.worker.mpi.world import WorldAgent

        return WorldAgent(spec, os.environ)
    from gridloom.worker.mpi.agent import Agent

    return Agent(spec, os.environ)


if __name__ == "__main__":
    sys.exit(main())
