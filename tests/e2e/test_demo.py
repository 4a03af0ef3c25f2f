"""The program of `make demo`, unchanged, from outside the cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.machine.run import say

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.support.release import Release


def test_the_demo_runs_on_the_cluster(release: Release, tmp_path: Path):
    command = [sys.executable, "-m", "gridloom.cli", "demo", "--out", str(tmp_path)]
    place = {"GRIDLOOM_ADDRESS": release.address, "GRIDLOOM_API_KEY": release.admin_key()}
    done = subprocess.run(
        [*command, "--workers", "2"],
        env={**os.environ, **place},
        capture_output=True,
        text=True,
        check=False,
    )
    say(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "scaling.png").exists() or "skipped: the service mpi" in done.stdout
