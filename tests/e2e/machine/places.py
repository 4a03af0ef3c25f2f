"""Where the machine's part of the end-to-end tests lives: nothing of it is in the repository."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

E2E = Path(__file__).resolve().parents[1]
REPOSITORY = E2E.parents[1]


def cache() -> Path:
    """What is costly to make and keyed by its version: `E2E_CACHE`, else in the user's cache."""
    given = os.environ.get("E2E_CACHE")
    if given:
        return Path(given).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gridloom" / "e2e"


def run_folder() -> Path:
    """What lives as long as the cluster: `E2E_HOME`. Its path is short: it holds unix sockets."""
    given = os.environ.get("E2E_HOME")
    return Path(given).absolute() if given else Path(tempfile.gettempdir()) / "gridloom-e2e"


def key_of(*parts: str | bytes) -> str:
    """A short name for one version of something made from `parts`."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:12]


def key_of_files(files: Iterable[Path], *parts: str) -> str:
    """The same for files: their names and contents count, their place does not."""
    found: list[str | bytes] = list(parts)
    for file in sorted(files):
        found += [file.name, file.read_bytes()]
    return key_of(*found)
