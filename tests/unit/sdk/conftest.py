from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gridloom.client import Client
from gridloom.locate import FixedAddress, Place

from tests.support.scripted import ScriptedPlatform

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def platform() -> Iterator[ScriptedPlatform]:
    platform = ScriptedPlatform()
    yield platform
    platform.close()


@pytest.fixture
def client(platform: ScriptedPlatform) -> Iterator[Client]:
    client = Client(Place(FixedAddress(platform.endpoint)), patience_s=5)
    yield client
    client.close()
