from __future__ import annotations

import asyncio

from gridloom_services.objects.locks import KeyedLocks


async def test_one_is_within_for_a_key_and_others_for_other_keys():
    locks = KeyedLocks()
    within: list[str] = []
    most: dict[str, int] = {}

    async def work(key: str) -> None:
        async with locks.holding(key):
            within.append(key)
            most[key] = max(most.get(key, 0), within.count(key))
            most["all"] = max(most.get("all", 0), len(within))
            await asyncio.sleep(0.001)
            within.remove(key)

    await asyncio.gather(*(work(key) for key in "aabbaabb"))
    assert most == {"a": 1, "b": 1, "all": 2}


async def test_a_lock_that_nobody_uses_is_forgotten():
    locks = KeyedLocks()
    async with locks.holding("a"):
        waiting = asyncio.ensure_future(locks.holding("a").__aenter__())
        await asyncio.sleep(0)
        assert len(locks) == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert len(locks) == 0
