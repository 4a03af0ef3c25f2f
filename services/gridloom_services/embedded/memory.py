"""What `gridloom doctor` says of shared memory, where payloads lie that need not be durable."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from gridloom import units
from gridloom.segments import PREFIX

from gridloom_services.embedded.finding import Finding, Verdict
from gridloom_services.objects.segments import SharedMemory, memory_folders

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


def own_memory(root: Path, objects: Path, *, mend: bool, runs: bool) -> Finding:
    """Segments of the platform whose objects are there: who waits for them, what nobody needs.

    A platform that runs gives back itself what nobody needs. `mend` does so for one that does not.
    """
    memory, held = SharedMemory(root, objects, 0.0), held_segments(objects)
    unneeded = [] if runs else memory.unneeded(held)
    lost = {name for name in held if memory.size(name) is None}
    if lost:  # what was let go of while we looked is not
        lost &= held_segments(objects)
    said = [f"{_amount(memory, set(memory.names()) - set(unneeded))} in use"]
    if unneeded:
        fate = "given back" if mend else "`gridloom doctor --mend` gives it back"
        said.append(f"{_amount(memory, unneeded)} that nobody needs: {fate}")
    if lost:
        said.append(f"{len(lost)} gone: who asks for them is told (PayloadLostError)")
    if mend:
        memory.resume()
        memory.close(held)
    is_well = not lost and (mend or not unneeded)
    return Finding("memory", Verdict.OK if is_well else Verdict.REMARK, "; ".join(said))


def others_memory(root: Path, *, mend: bool) -> Iterator[Finding]:
    """What platforms of this user have left there whose homes were removed."""
    for folder, home in memory_folders(root):
        if home.is_dir():
            continue
        memory = SharedMemory(root, home, 0.0)
        said = f"{_amount(memory, memory.names())} of a platform whose home {home.parent} is gone"
        if mend:
            shutil.rmtree(folder)
            yield Finding(folder.name, Verdict.OK, f"{said}: given back")
        else:
            said = f"{said}: `gridloom doctor --mend` gives it back"
            yield Finding(folder.name, Verdict.REMARK, said)


def held_segments(objects: Path) -> set[str]:
    """What the store there says is needed."""
    query = "SELECT DISTINCT digest FROM object_holds WHERE digest LIKE ?"
    uri = f"file:{objects / 'objects.db'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return {name for (name,) in connection.execute(query, (f"{PREFIX}%",))}


def _amount(memory: SharedMemory, names: Collection[str]) -> str:
    if not names:
        return "nothing"
    size = units.format_bytes(sum(memory.size(name) or 0 for name in names))
    return f"{len(names)} segment{'s' * (len(names) > 1)}, {size},"
