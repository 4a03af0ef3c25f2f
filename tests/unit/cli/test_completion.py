from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gridloom.cli.completion import complete_jobs, complete_queues

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("complete", [complete_jobs, complete_queues])
def test_a_tab_starts_no_platform(
    complete: Callable[[str], list[tuple[str, str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("GRIDLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GRIDLOOM_CONFIG", str(tmp_path / "none"))
    for name in ("GRIDLOOM_ADDRESS", "GRIDLOOM_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    assert complete("") == []
    assert not (tmp_path / "home").exists()
