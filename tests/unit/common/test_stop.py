from __future__ import annotations

import asyncio
import os
import signal

import pytest
from gridloom_services.common.errors import BrokenError
from gridloom_services.common.stop import Stop


async def test_the_first_signal_requests_and_the_second_forces():
    stop = Stop()
    stop.on_signals()
    os.kill(os.getpid(), signal.SIGTERM)
    await stop.requested()
    assert (stop.is_forced, stop.reason) == (False, "SIGTERM")
    os.kill(os.getpid(), signal.SIGINT)
    await stop.forced()


async def test_the_first_reason_stays():
    stop = Stop()
    stop.request("idle")
    stop.request("SIGTERM")
    stop.force("the grace is over")
    assert stop.reason == "idle"


async def test_to_force_is_to_request_too():
    stop = Stop()
    waiting = asyncio.ensure_future(stop.requested())
    stop.force("now")
    await waiting
    assert stop.is_requested


async def test_a_failure_forces_the_stop_and_is_told_afterwards():
    stop = Stop()
    stop.check()
    stop.fail("the store is gone")
    stop.fail("everything is gone")
    assert stop.is_forced
    with pytest.raises(BrokenError, match="the store is gone"):
        stop.check()
