from __future__ import annotations

import pytest
from gridloom_services.common.channels import ServiceChannels
from gridloom_services.common.errors import StartError


async def test_services_at_one_address_share_a_channel():
    channels = ServiceChannels("t", {"objects": "127.0.0.1:1", "scheduler": "127.0.0.1:1"})
    assert channels.channel("objects") is channels.channel("scheduler")
    assert channels.metadata == (("authorization", "Bearer t"),)
    await channels.close()


async def test_a_service_that_nobody_has_placed_is_asked_for_by_its_setting():
    channels = ServiceChannels("t", {})
    with pytest.raises(StartError, match="Set GRIDLOOM_OBJECTS_ADDRESS to its HOST:PORT"):
        channels.channel("objects")
