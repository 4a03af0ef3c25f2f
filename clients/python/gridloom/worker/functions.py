"""The functions that a worker has been sent, opened when they are first called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.api.functions.v1.session_pb2 import FunctionDefinition
    from gridloom.payload import PayloadCodec
    from gridloom.worker.modules import ModuleShelf


class Loaded(NamedTuple):
    """A function that can be called, and the bundle that must be active meanwhile."""

    name: str
    function: Callable[..., Any]
    bundle: str
    is_coroutine: bool


class FunctionShelf:
    """Functions by the digest of their code."""

    def __init__(self, codec: PayloadCodec, modules: ModuleShelf) -> None:
        self._codec = codec
        self._modules = modules
        self._definitions: dict[bytes, FunctionDefinition] = {}
        self._loaded: dict[bytes, Loaded] = {}

    def add(self, definition: FunctionDefinition) -> None:
        """Keep a function's code."""
        self._definitions.setdefault(definition.digest, definition)

    def name(self, digest: bytes) -> str:
        """What users call the function."""
        known = self._definitions.get(digest)
        return known.name if known is not None else digest.hex()[:12]

    def get(self, digest: bytes) -> Loaded:
        """The function, with its modules importable.

        Raises whatever opening it raises (a module that is not installed here, ...).
        """
        loaded = self._loaded.get(digest)
        if loaded is None:
            loaded = self._loaded[digest] = self._load(digest)
        else:
            self._modules.activate(loaded.bundle)
        return loaded

    def _load(self, digest: bytes) -> Loaded:
        import inspect

        definition = self._definitions[digest]
        self._modules.activate(definition.bundle.digest)
        function, _ = self._codec.decode_function(definition.code)
        is_coroutine = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004  # whether calling it awaits
        )
        return Loaded(definition.name, function, definition.bundle.digest, is_coroutine)


def run_to_end(function: Callable[..., Any]) -> Callable[..., Any]:
    """An `async def` function as one that can be called where there is no event loop."""

    def run(*args: Any, **kwargs: Any) -> Any:
        import asyncio

        return asyncio.run(function(*args, **kwargs))

    return run
