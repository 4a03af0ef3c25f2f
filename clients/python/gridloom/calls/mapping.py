"""What `map` and `starmap` take, and how a map begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from gridloom import units
from gridloom.calls.feed import spread, zipped
from gridloom.calls.map import MapResults
from gridloom.calls.options import CALL_WORDS, CallOptions
from gridloom.calls.progress import progress_for
from gridloom.calls.run import MapRun
from gridloom.options import check_choice, check_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gridloom.calls.client import Calls
    from gridloom.calls.feed import Source
    from gridloom.calls.function import Function


class MapOptions(CallOptions, total=False):
    """The options of a function's calls, and those of the map itself."""

    # "input": results in the order of the items; "completed": as they come.
    order: str
    # An item's error is its result; else it is raised, and what is left is cancelled.
    return_exceptions: bool
    # A progress bar: None where somebody looks, else as said.
    progress: bool | None
    # Items in one call; without it, as many as keep a worker busy for a short while.
    chunk_size: int
    # Keyword arguments, the same for all items.
    kwargs: Mapping[str, Any]


MAP_WORDS = frozenset(MapOptions.__annotations__) - CALL_WORDS
ORDERS = ("input", "completed")


def split_options(given: Mapping[str, Any], own: frozenset[str]) -> tuple[dict[str, Any], ...]:
    """The words of the verb itself, and those of its calls; anything else is refused."""
    check_options(given, CALL_WORDS | own)
    mine = {word: value for word, value in given.items() if word in own}
    return mine, {word: value for word, value in given.items() if word not in own}


def start_map(
    calls: Calls, function: Function[..., Any], iterables: tuple[Iterable[Any], ...], given: Any
) -> MapResults[Any]:
    """Begin a map over iterables in step."""
    if not iterables:
        raise TypeError("map() needs at least one iterable")
    fixed = dict(given.get("kwargs") or {})
    return _start(calls, function, zipped(iterables, fixed), given)


def start_starmap(
    calls: Calls, function: Function[..., Any], arguments: Iterable[Iterable[Any]], given: Any
) -> MapResults[Any]:
    """Begin a map over tuples of arguments."""
    fixed = dict(given.get("kwargs") or {})
    return _start(calls, function, spread(arguments, fixed), given)


def _start(
    calls: Calls, function: Function[..., Any], source: Source, given: Mapping[str, Any]
) -> MapResults[Any]:
    """Begin a map: its first chunks are on their way when this returns."""
    mine, others = split_options(given, MAP_WORDS)
    order = mine.get("order", "input")
    check_choice("order", order, ORDERS)
    size = mine.get("chunk_size")
    run = new_run(
        calls,
        function.options(**cast("CallOptions", others)) if others else function,
        source,
        in_order=order == "input",
        chunk_size=None if size is None else units.whole(size, field="chunk_size", least=1),
    )
    return MapResults(
        run,
        return_exceptions=bool(mine.get("return_exceptions")),
        progress=progress_for(function.name, mine.get("progress")),
    )


def new_run(calls: Calls, function: Function[..., Any], source: Source, **how: Any) -> MapRun:
    """A run whose feeding has begun."""
    source = source.after(function.bound)
    group = calls.session.new_group("map", function.call_options.get("name") or function.name)
    run = MapRun(calls.new_route(function, group), source, group=group, **how)
    if run.route.tracker is not None:
        run.route.tracker.add_run(run)
    run.pump(may_wait=False)
    if source.total is not None:
        run.start_feeding()
    return run
