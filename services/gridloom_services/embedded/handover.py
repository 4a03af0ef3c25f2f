"""Taking a home over from the platform that is ending there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gridloom_services.common.errors import FolderInUseError
from gridloom_services.common.lock import FolderLock
from gridloom_services.embedded.record import recorded_pid

if TYPE_CHECKING:
    from pathlib import Path

_STEP_S = 0.02


def take_home(home: Path, patience_s: float) -> FolderLock:
    """The lock of the home.

    A platform that is ready there keeps it: FolderInUseError at once. One without a record of its
    own is starting or ending; that is waited for.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return FolderLock(home)
        except FolderInUseError as error:
            is_ready = str(recorded_pid(home)) == error.details["pid"]
            if is_ready or time.monotonic() > deadline:
                raise
            time.sleep(_STEP_S)
