"""Opens a call that was pickled, without cloudpickle where that is not needed.

To import it takes a rank longer than to begin in MPI, and what the pickle of a plain function asks
of it are six small constructors. They stand here as well. Whatever else is asked for, a class of
`__main__` perhaps, comes from cloudpickle itself, and so does everything where one of ours fails:
the pickle may be of a version that means something else.
"""

from __future__ import annotations

import builtins
import pickle
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

_MODULE = "cloudpickle.cloudpickle"


def opened(file: BinaryIO) -> Any:
    """The value; what `pickle.load` gives and raises."""
    if "cloudpickle" in sys.modules:
        return pickle.load(file)  # noqa: S301  # the user's own
    try:
        return _Opener(file).load()
    except Exception:  # noqa: BLE001  # the real one succeeds, or says what is wrong
        file.seek(0)
        return pickle.load(file)  # noqa: S301  # the user's own


class _Opener(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        """Ours, where there is one."""
        if module == _MODULE and name in _OURS:
            return _OURS[name]
        return super().find_class(module, name)


def _function(
    code: types.CodeType, names: dict[str, Any], name: str, defaults: Any, cells: Any
) -> types.FunctionType:
    names["__builtins__"] = builtins.__dict__
    return types.FunctionType(code, names, name, defaults, cells)


def _complete(function: types.FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """As cloudpickle does it: globals and cells cannot be replaced, so they are filled."""
    attributes, parts = state
    cells = parts.pop("__closure__") or ()
    function.__globals__.update(parts.pop("__globals__"))
    parts.pop("_cloudpickle_submodules")
    function.__dict__.update(attributes)
    for own, cell in zip(function.__closure__ or (), cells, strict=True):
        if own is not cell:
            own.cell_contents = cell.cell_contents
    for name, value in parts.items():
        setattr(function, name, value)


def _imported(name: str) -> types.ModuleType:
    __import__(name)
    return sys.modules[name]


def _builtin_type(name: str) -> Any:
    return getattr(types, name)


_OURS = {
    "_make_function": _function,
    "_function_setstate": _complete,
    "_make_empty_cell": types.CellType,
    "_make_cell": types.CellType,
    "_builtin_type": _builtin_type,
    "subimport": _imported,
}
