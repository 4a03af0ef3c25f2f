from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gridloom.errors import NotFoundError, UnavailableError
from gridloom.worker.pod.stage import StagingError, bring

if TYPE_CHECKING:
    from pathlib import Path


class Store:
    def fetch(self, digest: str, path: Path) -> None:
        if digest == "none":
            raise NotFoundError("there is none")
        if digest == "away":
            raise UnavailableError("away")
        path.write_text(digest)


def file(path: str, digest: str = "content", mode: int = 0o640) -> dict:
    return {"path": path, "digest": digest, "mode": mode}


def test_files_lie_below_the_working_folder_with_their_modes(tmp_path):
    bring([file("a.txt"), file("b/c.sh", "run", 0o755)], tmp_path, Store())
    assert (tmp_path / "a.txt").read_text() == "content"
    assert (tmp_path / "b/c.sh").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("made", "failure_class", "reason"),
    [
        (file("../a"), "APPLICATION_ERROR", "not below the working folder"),
        (file("a", "none"), "APPLICATION_ERROR", "there is no object none"),
        (file("a", "away"), "NODE_LOST", "away"),
    ],
)
def test_what_cannot_be_brought_says_whose_fault_it_is(tmp_path, made, failure_class, reason):
    with pytest.raises(StagingError, match=reason) as caught:
        bring([made], tmp_path, Store())
    assert caught.value.failure_class == failure_class
