"""What a client writes down, so that it can be held against what it is told later: JSON lines, each
on disk before the next thing happens. It survives the client."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Journal:
    """Appends to a file; several clients write to it, one after the other."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def accepted(self, lot: int, ids: list[str]) -> None:
        """The platform has taken this lot, under these ids."""
        self._write({"lot": lot, "ids": ids})

    def seen(self, lot: int, place: str, value: Any) -> None:
        """A result was told. Each telling is written, also a second one of the same."""
        self._write({"lot": lot, "place": place, "value": value}, durable=False)

    def finished(self) -> None:
        """The client has seen the end of everything."""
        self._write({"finished": True})

    def _write(self, record: dict[str, Any], *, durable: bool = True) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")
        if durable:
            os.fsync(self._file.fileno())


def records(path: Path) -> Iterator[dict[str, Any]]:
    """All that was written whole: a client that is killed leaves half a line at most."""
    if path.exists():
        for line in path.read_bytes().split(b"\n"):
            if line.endswith(b"}"):
                yield json.loads(line)


def accepted_lots(path: Path) -> dict[int, list[str]]:
    """The ids of each lot."""
    return {each["lot"]: each["ids"] for each in records(path) if "ids" in each}
