from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.cli.__main__ import run
from gridloom.cli.shells import SHELLS

from tests.unit.sdk.jobs.examples import JOB, job

if TYPE_CHECKING:
    from tests.support.scripted import ScriptedPlatform

# What bash does at a TAB: the words typed so far, the last of them incomplete.
TAB = """
source <(gridloom --show-completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_gridloom_completion gridloom
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(home: Path, *words: str) -> list[str]:
    """What bash offers after these words, in a home folder of its own."""
    own = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "GRIDLOOM_HOME": str(home / "platform"),
        "GRIDLOOM_CONFIG": str(home / "config"),
    }
    command = ["bash", "-c", TAB, "bash", "gridloom", *words]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("words", [("jobs", "show", "job_"), ("queues", "set", "")], ids=" ".join)
def test_a_tab_starts_no_platform(words: tuple[str, ...], tmp_path: Path):
    assert offered(tmp_path, *words) == []
    assert not (tmp_path / "platform").exists()


def test_bash_completes_verbs(tmp_path: Path):
    assert offered(tmp_path, "jobs", "re") == ["retry", "release"]


def test_bash_completes_ids_of_the_platform_that_was_typed(
    tmp_path: Path, platform: ScriptedPlatform
):
    platform.script("ListJobs", pb.ListJobsResponse(jobs=[job()]))
    assert offered(tmp_path, "--address", platform.address, "jobs", "show", "job_") == [JOB]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_that_of_the_shell_that_is_named(shell: str, capsys):
    assert run(["--show-completion", shell]) == 0
    script = capsys.readouterr().out
    own = {"bash": "complete -o", "zsh": "compdef", "fish": "complete --command"}
    assert own.get(shell, "PSReadLine") in script


def test_a_shell_that_is_not_known_is_refused_with_those_that_are(capsys):
    assert run(["--show-completion", "bahs"]) == 2
    assert 'did you mean "bash"?' in capsys.readouterr().err
