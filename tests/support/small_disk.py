"""A disk of a few megabytes, which tests fill."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECES = (1 << 20, 4096, 64, 1)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount it at `folder`, and take it away; skips the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("a small disk can be mounted by root only")
    folder.mkdir()
    size = ["-o", f"size={megabytes}m"]
    done = subprocess.run(
        ["mount", "-t", "tmpfs", *size, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all that is left of it; the file that does. Remove that, and there is room again."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in _PIECES:
            _write_until_full(file.fileno(), bytes(size))
    return filler


def _write_until_full(descriptor: int, piece: bytes) -> None:
    try:
        while True:
            os.write(descriptor, piece)
    except OSError:
        return
