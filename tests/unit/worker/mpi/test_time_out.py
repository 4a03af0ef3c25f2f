"""From when the time of ranks counts, where their hosts take theirs to gather."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# The hosts gather for longer than the ranks may take: the ranks need none of it.
LATE = """
import os, sys, time
from gridloom.worker.mpi.agent import Agent
from gridloom.worker.mpi.others import NoOthers
from gridloom.worker.mpi.spec import LaunchSpec

class Late(NoOthers):
    def gather(self, *_):
        time.sleep(2.5)
        return True

limits = {"timeout_s": 2.0, "limit": "time-out of 2 s", "is_of_ranks": sys.argv[1] == "ranks"}
spec = LaunchSpec(2, "mpich", ["sh", "-c", "sleep 0.3"], **limits)
sys.exit(Agent(spec, os.environ, Late()).run())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("whose", "code"), [("ranks", 0), ("job", 124)])
def test_a_time_out_counts_from_the_launch_and_a_job_s_limit_from_its_start(
    tmp_path: Path, whose: str, code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE, whose],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert ("the time-out of 2 s" in done.stderr) is (code == 124)
