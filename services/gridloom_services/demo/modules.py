"""The demo's own modules, as those of a user."""

from __future__ import annotations

import shutil
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from gridloom_services.demo import programs

PROGRAMS = Path(programs.__file__).parent


def users_module(folder: Path, name: str) -> Any:
    """A program as a module that lies beside a user's work.

    It travels with its functions, as installed packages do not: workers elsewhere have no demo.
    """
    place = Path(shutil.copy(PROGRAMS / f"{name}.py", folder))
    loader = SourceFileLoader(name, str(place))
    spec = spec_from_loader(name, loader, origin=str(place))
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module
