"""The rank agent, the command of every MPI job: launches the ranks, tells what became of them.

`python -m gridloom.worker.rank_agent` under a supervisor, with `GRIDLOOM_MPI_SPEC`. It writes what
ranks write as lines with their rank's mark, leaves a report, and ends with the exit code of the
rank that failed first. When it ends, the supervisor ends whatever is still there.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the job of the environment; the exit code."""
    from gridloom.worker.mpi.agent import Agent
    from gridloom.worker.mpi.spec import SPEC_VARIABLE, from_text

    spec = from_text(os.environ[SPEC_VARIABLE])
    if spec.is_world:
        from gridloom.worker.mpi.world import WorldAgent

        return WorldAgent(spec, os.environ).run()
    return Agent(spec, os.environ).run()


if __name__ == "__main__":
    sys.exit(main())
