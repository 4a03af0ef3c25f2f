"""Before a command begins: its input files, and a shell for images that have none.

`python -m gridloom.worker.pod.stage`, in a container that ends before the others begin. May be
repeated: what is there is replaced.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gridloom.errors import GridloomError, NotFoundError
from gridloom.worker.pod import order
from gridloom.worker.pod.message import Farewell
from gridloom.worker.supervision import handover

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHELLS = ("/bin/busybox", "/usr/bin/busybox")


class Fetches(Protocol):
    """Where contents come from."""

    def fetch(self, digest: str, path: Path) -> None:
        """Write an object to a file."""


class StagingError(Exception):
    """The command cannot begin; `failure_class` says whose fault that is."""

    def __init__(self, reason: str, failure_class: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.failure_class = failure_class


def bring(files: Iterable[dict[str, Any]], workdir: Path, objects: Fetches) -> None:
    """Put the files below the working folder. StagingError."""
    for file in files:
        name = file["path"]
        target = workdir / name
        if not target.resolve().is_relative_to(workdir.resolve()):
            raise StagingError(
                f"the input file {name!r} is not below the working folder",
                handover.APPLICATION_ERROR,
            )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            objects.fetch(file["digest"], target)
            target.chmod(file["mode"])
        except NotFoundError as error:
            reason = f"the input file {name!r}: there is no object {file['digest']}"
            raise StagingError(reason, handover.APPLICATION_ERROR) from error
        except (GridloomError, OSError) as error:
            raise StagingError(f"the input file {name!r}: {error}", handover.NODE_LOST) from error


def lend_shell(folder: Path) -> None:
    """Put a shell that needs nothing of the image it is used in into the folder. StagingError."""
    for path in map(Path, _SHELLS):
        if path.exists():
            shutil.copyfile(path, folder / "sh")
            (folder / "sh").chmod(0o555)
            return
    raise StagingError("the worker image has no static busybox", handover.NODE_LOST)


def main() -> int:
    """Entry."""
    from gridloom.worker.pod.objects import PlatformObjects

    gang = json.loads(order.GANG.read_text(encoding="utf-8"))
    role = next(each for each in gang["roles"] if each["name"] == os.environ["GRIDLOOM_ROLE"])
    try:
        if order.BIN.is_dir():
            lend_shell(order.BIN)
        workdir = Path(os.environ["GRIDLOOM_WORKDIR"])
        bring(role["files"], workdir, PlatformObjects(os.environ))
    except StagingError as error:
        Farewell(error.failure_class, error.reason).write(order.MESSAGE)
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
