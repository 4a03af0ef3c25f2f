"""The platform is told to end by a signal while pools are warm."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import gridloom
import pytest

from tests.support.chaos import survivors
from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    home.close()


def test_pools_with_nothing_to_do_end_with_the_platform_and_come_again(home: Home):
    for round_ in range(2):
        with gridloom.connect(home=home.path) as client:
            assert client.submit(abs, -7 - round_).result(timeout=60) == 7 + round_
            record = home.platform.running()
        os.kill(record.pid, signal.SIGTERM)
        assert survivors(home.path, 20.0) == {}
