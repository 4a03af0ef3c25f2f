"""The client of a seed: `python -m tests.crash.harness.driver HOME JOURNAL KIND...`.

It begins a lot of each kind, and reads all results. Killed and started again, it takes up what the
journal says was accepted, begins the rest, and reads everything anew. GRIDLOOM_ADDRESS in its
environment leads it to a platform that it does not start itself.
"""

from __future__ import annotations

import os
import random
import sys
import time
from functools import partial
from pathlib import Path

import gridloom
from gridloom.errors import StorageFullError, UnavailableError

from tests.crash.harness.journal import Journal, accepted_lots
from tests.crash.harness.work import KINDS, PATIENCE_S, Lot, Tell

_PAUSE_S = 0.3
# What is refused since the disk is full; or since the platform cannot start on one that fails.
_MOMENTARY = (StorageFullError,) + (UnavailableError,) * ("CRASH_FSYNC_FAILS" in os.environ)


def main(home: Path, path: Path, kinds: list[str]) -> None:
    """Do all of it; the journal's last record says that everything was seen."""
    journal, ids = Journal(path), accepted_lots(path)
    with _connected(home) as client:
        for lot, kind in enumerate(kinds):
            if lot not in ids:
                ids[lot] = _begun(
                    KINDS[kind], client, f"{path.stem}-{lot}", partial(journal.seen, lot)
                )
                journal.accepted(lot, ids[lot])
                time.sleep(random.uniform(0, _PAUSE_S))
        for lot, kind in enumerate(kinds):
            for place, value in KINDS[kind].results(client, ids[lot]):
                journal.seen(lot, place, value)
    journal.finished()


def _begun(lot: Lot, client: gridloom.Client, name: str, tell: Tell) -> list[str]:
    ends_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            return lot.begin(client, name, tell)
        except _MOMENTARY:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.2)


def _connected(home: Path) -> gridloom.Client:
    if address := os.environ.get("CRASH_ADDRESS"):
        key = (home / "token").read_text()
        return gridloom.connect(address, api_key=key, timeout=PATIENCE_S)
    return gridloom.connect(home=home, timeout=PATIENCE_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
