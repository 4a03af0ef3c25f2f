"""Python programs as ranks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from gridloom.worker.mpi.scripts import rank_program, with_runner

HERE = str(Path(sys.executable).parent)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python solve.py 3", "python -m mpi4py.run solve.py 3"),
        ("python -u -X dev solve.py -n", "python -u -X dev -m mpi4py.run solve.py -n"),
        ("python -c pass", "python -m mpi4py.run -c pass"),
        ("python -m solver 3", "python -m mpi4py.run -m solver 3"),
        ("python -m mpi4py solve.py", "python -m mpi4py solve.py"),
        ("python -m mpi4py.run solve.py", "python -m mpi4py.run solve.py"),
        ("python", "python"),
    ],
)
def test_the_runner_stands_before_the_script(command, expected):
    assert with_runner(command.split()) == expected.split()


def test_a_script_of_this_environment_s_python_gets_it():
    assert "mpi4py.run" in rank_program(["python", "solve.py"], HERE)


@pytest.mark.parametrize("word", ["sh", "./solver", "pythonic"])
def test_other_programs_stay_as_they_are(word):
    assert rank_program([word, "solve.py"], HERE + ":/bin") == [word, "solve.py"]


def test_another_python_stays_as_it_is(tmp_path):
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert rank_program(["python", "solve.py"], str(tmp_path)) == ["python", "solve.py"]
