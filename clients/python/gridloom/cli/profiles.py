"""What `gridloom jobs profile` shows: a table of functions, and what memory it took."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from gridloom import units
from gridloom.profiles.operations import profile_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom.cli.verb import Here
    from gridloom.profiles.profile import FunctionProfile, Profile


def show_profile(
    here: Here, identifier: str, *, rank: int | None, top: int, flame: str, save: str
) -> None:
    """Show it, and write the files that are wanted."""
    profile = here.client.connection.run(profile_of(identifier, rank))
    title = identifier if rank is None else f"{identifier}, rank {rank}"
    written = []
    if flame:
        written.append(profile.flamegraph(flame, title))
    if save:
        written.append(profile.save(save))
    if here.screen.as_json:
        here.screen.document(profile_document(profile, top))
    else:
        here.screen.words(_lines(profile, top))
    for path in written:
        here.screen.say(f"gridloom: wrote {path}")


def profile_document(profile: Profile, top: int) -> dict[str, Any]:
    """As JSON: the same of each rank, where there are ranks."""
    document: dict[str, Any] = {
        "kind": profile.kind,
        "seconds": profile.seconds,
        "memory_before_bytes": profile.memory_before_bytes,
        "peak_memory_bytes": profile.peak_memory_bytes,
        "why": profile.why,
        "functions": [each._asdict() for each in profile.functions[:top]],
    }
    if profile.by_rank:
        ranks = profile.by_rank.items()
        document["ranks"] = {str(rank): profile_document(each, top) for rank, each in ranks}
    return document


def _lines(profile: Profile, top: int) -> Iterator[str]:
    peak = units.format_bytes(profile.peak_memory_bytes)
    yield f"{profile.kind}, {units.format_duration(profile.seconds)}, peak memory {peak}"
    for rank, each in profile.by_rank.items():
        took, most = units.format_duration(each.seconds), units.format_bytes(each.peak_memory_bytes)
        yield f"rank {rank}: {took}, peak memory {most}"
    if profile.why:
        yield f"no functions: {profile.why}"
    functions = profile.functions
    if functions:
        yield f"{'own s':>9} {'total s':>9} {'calls':>9}  function"
        yield from map(_row, functions[:top])
    if functions[top:]:
        yield f"and {len(functions) - top:,} more: --top shows them, --flame draws all"


def _row(each: FunctionProfile) -> str:
    calls = f"{each.calls:,}" if each.calls else "-"
    where = f" ({PurePath(each.file).name}:{each.line})" if each.line else ""
    return f"{each.own_s:9.3f} {each.total_s:9.3f} {calls:>9}  {each.name}{where}"
