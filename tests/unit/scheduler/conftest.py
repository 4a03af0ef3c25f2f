from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.scheduler import Platform

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """One node of 4 cpus and 8 GiB, on which nothing ends by itself."""
    platform = Platform(tmp_path)
    await platform.begin()
    yield platform
    await platform.end()
    assert platform.fatal == []
