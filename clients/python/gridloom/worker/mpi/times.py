"""When each rank of a program began and ended, for whoever measures it: see `gridloom.studies`."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom.worker.mpi.folder import RankFolder
    from gridloom.worker.mpi.others import Others


def leave_times(path: Path, folder: RankFolder, others: Others) -> None:
    """Write the times of all ranks, by this host's clock, and which processors those here may use.

    A rank begins when the launcher has come to executing its program. The times are those of the
    files that say so: good to some milliseconds.
    """
    begun = {rank: folder.began_at(rank) for rank in folder.ranks} | others.begun()
    ranks = [
        {"rank": end.rank, "began_at": began_at, "ended_at": end.at}
        for end in (*folder.exits(), *others.ends())
        if (began_at := begun.get(end.rank)) is not None
    ]
    _leave(path, ranks)


def leave_place(path: Path) -> None:
    """Of a host that is not the first: its processors. The first tells times, by one clock."""
    _leave(path, [])


def _leave(path: Path, ranks: list[dict[str, Any]]) -> None:
    from gridloom.worker.measuring import processors

    with contextlib.suppress(OSError):  # a full disk: who measures says that there are no times
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"ranks": ranks, **processors()}), encoding="utf-8")
