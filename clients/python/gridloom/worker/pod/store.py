"""Brings out what a command left behind: its output files and its streams."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from gridloom.worker.pod.message import Outputs, StoredStream
from gridloom.worker.supervision.collect import find
from gridloom.worker.supervision.handover import GAP_SUFFIX, STDERR, STDOUT
from gridloom.worker.supervision.records import read_record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_COPY_BYTES = 1 << 20


class FileStore(Protocol):
    """Keeps contents by their digests. Whatever it fails with is told as it is."""

    def keep(self, path: Path) -> str:
        """Store a file for the job and return its digest."""

    def keep_for_a_while(self, path: Path) -> str:
        """Store a file for whoever asks soon."""


def store_outputs(store: FileStore, workdir: Path, patterns: Iterable[str]) -> Outputs:
    """Store the files that match, in the order of their names."""
    return tuple(
        (file.path, store.keep(workdir / file.path), file.size_bytes, file.mode)
        for file in find(workdir, patterns)
    )


def store_list(store: FileStore, outputs: Outputs, aside: Path) -> str:
    """Store a list of outputs that is too long to be told; its digest."""
    aside.write_text(json.dumps(outputs), encoding="utf-8")
    return store.keep_for_a_while(aside)


def store_streams(store: FileStore, folder: Path) -> dict[str, StoredStream]:
    """Store the streams that have anything in them."""
    return {
        name: _store_stream(store, folder / name)
        for name in (STDOUT, STDERR)
        if (folder / name).exists() and (folder / name).stat().st_size
    }


def _store_stream(store: FileStore, path: Path) -> StoredStream:
    gap = read_record(path.with_name(path.name + GAP_SUFFIX))
    if gap is None:
        return StoredStream(store.keep_for_a_while(path))
    whole = path.with_name(f"{path.name}.whole")
    with path.open("rb") as source, whole.open("wb") as target:
        left = gap["first"]
        while left and (data := source.read(min(_COPY_BYTES, left))):
            target.write(data)
            left -= len(data)
        source.seek(gap["end"])
        while data := source.read(_COPY_BYTES):
            target.write(data)
    return StoredStream(store.keep_for_a_while(whole), gap["first"], gap["end"])
