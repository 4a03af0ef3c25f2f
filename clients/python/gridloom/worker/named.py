"""Functions that travel by the name of their module and their own."""

from __future__ import annotations

import sys
from importlib import import_module
from operator import attrgetter
from typing import Any


def named_function(module: str, name: str) -> Any:
    """The plain function of this name, without Gridloom's decorator.

    A decorated function has imported its decorator: a worker need not, which takes it longer than
    everything else that it imports.
    """
    found = attrgetter(name)(import_module(module))
    decorators = sys.modules.get("gridloom.calls.function")
    if decorators is not None and isinstance(found, decorators.Function):
        return found.function
    return found
