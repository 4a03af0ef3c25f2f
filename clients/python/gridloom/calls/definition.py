"""A function on its way: by name where others can import it, by value where they cannot."""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from gridloom.api.functions.v1 import session_pb2
from gridloom.api.objects.v1 import objects_pb2
from gridloom.calls.options import PYTHON_VERSION
from gridloom.worker.named import named_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.objects import ObjectsClient
    from gridloom.payload import PayloadCodec

_MAIN = "__main__"


def function_definition(
    function: Callable[..., Any], codec: PayloadCodec, objects: ObjectsClient, profile: str = ""
) -> session_pb2.FunctionDefinition:
    """The function as the platform keeps it; what its modules need is stored on the way.

    It is what the function is at this moment: globals and closures that change later do not
    travel again.
    """
    bundle = stored_bundle(function, objects)
    traveller: Any = importable(function) or function
    if profile:
        from gridloom.worker.profiling.function import ProfiledFunction

        traveller = ProfiledFunction(traveller, profile)
    code = codec.encode_function(traveller, bundle.digest if bundle else "").data
    definition = session_pb2.FunctionDefinition(
        digest=hashlib.sha256(code).digest(),
        name=function_name(function),
        code=code,
        python=PYTHON_VERSION,
    )
    if bundle is not None:
        definition.bundle.CopyFrom(bundle)
    return definition


def stored_bundle(
    function: Callable[..., Any], objects: ObjectsClient
) -> objects_pb2.ObjectRef | None:
    """The user's own modules that a function needs, stored; None where it needs none."""
    from gridloom.worker.bundle import bundle_for

    bundle = bundle_for(function)
    if bundle is None:
        return None
    objects.put_bytes(bundle.data)
    return objects_pb2.ObjectRef(digest=bundle.digest, size_bytes=len(bundle.data))


def function_name(function: Callable[..., Any]) -> str:
    """How people call the function."""
    if isinstance(function, functools.partial):
        return function_name(function.func)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]


def importable(function: Callable[..., Any]) -> Importable | None:
    """The function by its module and name, where it is found so, also below our decorator."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or module == _MAIN or not name or "<" in name:
        return None
    try:
        found = attrgetter(name)(sys.modules[module])
    except (KeyError, AttributeError):
        return None
    same = found is function or getattr(found, "__wrapped__", None) is function
    return Importable(module, name) if same else None


class Importable:
    """Pickled as a module and a name; opened as the function itself, without its decorator."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return named_function, (self._module, self._name)


# What is sent once and called often. Other callables hold data: they travel as an argument.
_CODE = (types.FunctionType, types.BuiltinFunctionType, type)


def is_code(function: Callable[..., Any]) -> bool:
    """Whether a callable is a function or class, rather than an object that can be called."""
    if isinstance(function, types.BuiltinFunctionType):
        return isinstance(function.__self__, types.ModuleType | None)
    return isinstance(function, _CODE)


def apply(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call something that came as an argument."""
    return function(*args, **kwargs)
