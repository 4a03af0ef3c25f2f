"""The user's own modules on their way to the workers.

A function of an importable module is pickled by its name, and whoever opens it must be able to
import that module. Installed packages are the image's business; everything else that the function
needs (by the import statements of its modules, and theirs) goes along in a zip, packages with their
data files. The same modules make the same zip, byte by byte, so that it is stored and unpacked
once.

Code in `__main__` needs no module: it is pickled by value. What `__main__` has imported goes along
in any case, since arguments may be made of it.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import importlib.util
import io
import sys
import sysconfig
import types
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom.errors import InvalidRequestError
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LIMIT_BYTES = 32 * 1024 * 1024

_MAIN = "__main__"
_INSTALLED_FOLDERS = {"site-packages", "dist-packages"}
_OURS = {"gridloom", "gridloom_services"}
_EPOCH = (1980, 1, 1, 0, 0, 0)
# A package without `__init__.py` gets this one, so that it is found before a package of the same
# name elsewhere and still includes the parts of it that lie there.
_NAMESPACE_INIT = b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A zip of modules, named by its content."""

    data: bytes
    digest: str
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """A module's file as it goes into the zip."""

    name: str
    data: bytes
    imports: tuple[str, ...]


def bundle_for(function: Callable[..., Any], *, limit_bytes: int = LIMIT_BYTES) -> Bundle | None:
    """The user's own modules that a function needs, or None where it needs none.

    Raises `InvalidRequestError` where they are too large to travel with every function.
    """
    sources: dict[str, _Source] = {}
    wanted = [*_modules_of(function), *_modules_of_main()]
    while wanted:
        name = wanted.pop()
        if name in sources or not _is_own(name):
            continue
        source = _read_module(name)
        if source is None:
            continue
        sources[name] = source
        wanted += [*source.imports, *_parents(name), *_loaded_below(name)]
    if not sources:
        return None
    files = {source.name: source.data for source in sources.values()}
    for name in sources:
        files.update(_data_of(name))
    _check_size(files, limit_bytes)
    return _zipped(files, tuple(sorted(sources)))


# ---- which modules


def _modules_of(function: Any) -> set[str]:
    """Modules that a function refers to directly: its own, or those of what it holds."""
    function = _inner(function)
    own = getattr(function, "__module__", None) or _MAIN
    if own != _MAIN and _is_own(own):
        return {own, *_homes(_held(function))}
    return _homes([*_globals(function), *_held(function)]) | set(_imported_inside(function))


def _modules_of_main() -> set[str]:
    return _homes(vars(sys.modules[_MAIN]).values()) if _MAIN in sys.modules else set()


def _inner(function: Any) -> Any:
    """The function below decorators that say so, partial applications and bound methods."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return function


def _globals(function: Any) -> Iterable[Any]:
    return list(getattr(function, "__globals__", {}).values())


def _held(function: Any) -> Iterator[Any]:
    """What its closure and defaults hold, and the class of an object that can be called."""
    yield type(function)
    yield from getattr(function, "__defaults__", None) or ()
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            continue


def _homes(values: Iterable[Any]) -> set[str]:
    """Names of the modules that values are, or come from."""
    names = set()
    for value in list(values):
        if isinstance(value, types.ModuleType):
            names.add(value.__name__)
            continue
        home = getattr(value, "__module__", None) or getattr(type(value), "__module__", None)
        if isinstance(home, str):
            names.add(home)
    return names


def _imported_inside(function: Any) -> Iterator[str]:
    """Modules that a function's own code imports when it runs."""
    code = getattr(function, "__code__", None)
    if code is None:
        return
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            yield str(instruction.argval)


def _is_own(name: str) -> bool:
    """Whether a module belongs to the user: neither Python's, nor installed, nor ours.

    What is no module at all counts as the user's; it is found to have no file.
    """
    top = name.partition(".")[0]
    if top in _OURS or top in sys.stdlib_module_names or name == _MAIN:
        return False
    return not any(map(_is_installed, [*_places(top), *_places(name)]))


def _places(name: str) -> list[Path]:
    """A module's file, or the folders of a package without one."""
    file = _module_file(name)
    if file is not None:
        return [file]
    return [Path(folder) for folder in getattr(sys.modules.get(name), "__path__", ())]


def _is_installed(path: Path) -> bool:
    if not _INSTALLED_FOLDERS.isdisjoint(path.parts):
        return True
    return any(path.is_relative_to(folder) for folder in _python_folders())


@functools.cache
def _python_folders() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


def _module_file(name: str) -> Path | None:
    """A module's file; None for a package without one, and for what is no module."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None) or _spec_of_unloaded(name)
    origin = getattr(module, "__file__", None) or getattr(spec, "origin", None)
    return Path(origin) if origin and Path(origin).is_file() else None


def _spec_of_unloaded(name: str) -> Any:
    """Find a module without importing anything."""
    parent = name.rpartition(".")[0]
    if name in sys.modules or (parent and parent not in sys.modules):
        return None
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def _loaded_below(name: str) -> list[str]:
    """Modules of a real package that are loaded: it may find them by other means than `import`."""
    if getattr(sys.modules.get(name), "__file__", None) is None:
        return []
    return [loaded for loaded in list(sys.modules) if loaded.startswith(f"{name}.")]


# ---- their files


def _read_module(name: str) -> _Source | None:
    """A module's file; None where it has none (made at run time, or part of a frozen program)."""
    file = _module_file(name)
    if file is None:
        module = sys.modules.get(name)
        is_namespace = module is not None and hasattr(module, "__path__")
        return _Source(_init_path(name), _NAMESPACE_INIT, ()) if is_namespace else None
    is_package = file.stem == "__init__"
    base = name.replace(".", "/")
    path = f"{base}/{file.name}" if is_package else f"{base}{''.join(file.suffixes)}"
    data = file.read_bytes()
    return _Source(path, data, _imports(name, data, is_package=is_package))


def _data_of(name: str) -> dict[str, bytes]:
    """The data files of a package, by their path in the zip; none of a module."""
    from gridloom.worker.package_data import data_files

    file = _module_file(name)
    if file is None or file.stem != "__init__":
        return {}
    base = name.replace(".", "/")
    found = data_files(name, file.parent)
    return {f"{base}/{path}": place.read_bytes() for path, place in found.items()}


def _init_path(name: str) -> str:
    return f"{name.replace('.', '/')}/__init__.py"


@functools.lru_cache(maxsize=4096)
def _imports(name: str, data: bytes, *, is_package: bool) -> tuple[str, ...]:
    """Every module that the source may import, also inside its functions."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError):  # not Python: a compiled module
        return ()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(_imported_from(node, name, is_package=is_package))
    return tuple(sorted(found))


def _imported_from(node: ast.ImportFrom, name: str, *, is_package: bool) -> Iterator[str]:
    """The module of a `from` import, and the names in it that may be modules too."""
    base = node.module or ""
    if node.level:
        parts = name.split(".")
        kept = len(parts) - node.level + is_package
        base = ".".join([*parts[: max(kept, 0)], *([base] if base else [])])
    if base:
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


# ---- the zip


def _check_size(files: dict[str, bytes], limit_bytes: int) -> None:
    size = sum(map(len, files.values()))
    if size > limit_bytes:
        raise InvalidRequestError(
            f"the modules that the function needs, and their data files, take {size:,} bytes; the"
            f" limit is {limit_bytes:,}: install them where the workers run",
            field="function",
        )


def _zipped(files: dict[str, bytes], modules: tuple[str, ...]) -> Bundle:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    data = file.getvalue()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Bundle(data, digest, modules)
