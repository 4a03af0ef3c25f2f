"""The data files of the user's own packages: what `importlib.resources` finds beside the modules.

Of a package that travels, every file in its folder and in those below travels with it, except
Python's own files, what is hidden, and packages of their own (which go for themselves). A package
says which it needs by `__gridloom_data__`, patterns relative to its folder; an empty tuple: none.
"""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_BYTES = 16 * 1024 * 1024
# More is a folder of data that happens to lie in a package.
MOST_FILES = 2000

_CODE_SUFFIXES = (".py", ".pyc", ".pyi", ".pyo", ".so", ".pyd")


def data_files(package: str, folder: Path) -> dict[str, Path]:
    """A package's data files by their path relative to the folder, in order.

    Raises `InvalidRequestError` where they are too many or too large to travel with a function.
    """
    patterns = getattr(sys.modules.get(package), "__gridloom_data__", None)
    found: dict[str, Path] = {}
    size = 0
    for path in _files_below(folder):
        name = path.relative_to(folder).as_posix()
        if patterns is not None and not any(fnmatch(name, pattern) for pattern in patterns):
            continue
        found[name] = path
        size += path.stat().st_size
        if size > LIMIT_BYTES or len(found) > MOST_FILES:
            raise _too_much(package, folder)
    return dict(sorted(found.items()))


def _files_below(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        place = Path(here)
        folders[:] = [name for name in folders if not _is_left_out(place / name)]
        for name in names:
            path = place / name
            if not name.startswith(".") and not name.endswith(_CODE_SUFFIXES) and path.is_file():
                yield path


def _is_left_out(folder: Path) -> bool:
    if folder.name.startswith(".") or folder.name == "__pycache__":
        return True
    return (folder / "__init__.py").exists()


def _too_much(package: str, folder: Path) -> InvalidRequestError:
    return InvalidRequestError(
        f"package {package} has more data files in {folder} than travel with a function"
        f" ({MOST_FILES:,} files or {LIMIT_BYTES:,} bytes): say in its __init__.py which of them"
        ' are needed there, such as __gridloom_data__ = ("tables/*.csv",) or (), or install it'
        " where the workers run",
        field="function",
        allowed=f"{LIMIT_BYTES} bytes",
    )
