"""What a store of keys, members and the audit log promises, on each: SQLite, PostgreSQL, memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from gridloom_services.common.audit import AuditEntry
from gridloom_services.common.roles import EVERYWHERE, Role
from gridloom_services.common.store import Database
from gridloom_services.scheduler.access.key import Key, Member
from gridloom_services.scheduler.access.store.base import REFUSED, AccessStore, AuditQuery
from gridloom_services.scheduler.access.store.memory import MemoryAccessStore
from gridloom_services.scheduler.access.store.sql import SqlAccessStore
from gridloom_services.scheduler.store.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = Key("k1", bytes(range(32)), "ada", "chem", Role.SUBMITTER, 10, "root")
FULL_KEY = Key(
    id="k2",
    digest=b"\xff" * 32,
    owner="ada@example.org",
    project=EVERYWHERE,
    role=Role.ADMIN,
    created_us=1 << 50,
    created_by="root",
    description="for the é cluster",
    expires_us=1 << 51,
    revoked_us=1 << 52,
    revoked_by="bob",
    used_us=1 << 53,
    is_bootstrap=True,
)
MEMBER = Member("chem", "ada", Role.SUBMITTER, 10, "root")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[AccessStore]:
    if request.param == "memory":
        yield MemoryAccessStore()
        return
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    database = await Database.open(request.getfixturevalue(name), SCHEMA)
    yield SqlAccessStore(database)
    await database.close()


def an_entry(number: int, **more) -> AuditEntry:
    said = {"service": "scheduler", "action": "job.cancel", "actor": "ada", "at_us": number}
    return AuditEntry(id=f"id{number}", **(said | more))


async def numbers(store: AccessStore, query: AuditQuery | None = None) -> list[int]:
    found = await store.entries(query or AuditQuery(), None, 100)
    return [each.entry.at_us for each in found]


async def test_what_was_put_is_found_as_it_was(store: AccessStore):
    assert await store.keys() == await store.members() == []
    await store.put(KEY, MEMBER)
    await store.put(FULL_KEY)
    assert sorted(await store.keys(), key=lambda key: key.id) == [KEY, FULL_KEY]
    assert await store.members() == [MEMBER]


async def test_what_is_put_again_is_replaced(store: AccessStore):
    await store.put(KEY, MEMBER)
    revoked, raised = replace(KEY, revoked_us=11), replace(MEMBER, role=Role.ADMIN)
    await store.put(revoked, raised)
    assert await store.keys() == [revoked]
    assert await store.members() == [raised]


async def test_a_member_is_removed_from_one_project_only(store: AccessStore):
    elsewhere = replace(MEMBER, project=EVERYWHERE)
    await store.put(member=MEMBER)
    await store.put(member=elsewhere)
    await store.remove_member("chem", "ada")
    await store.remove_member("chem", "nobody")
    assert await store.members() == [elsewhere]


async def test_last_uses_are_written_down(store: AccessStore):
    await store.put(KEY)
    await store.put(FULL_KEY)
    await store.used({"k1": 77})
    assert {key.id: key.used_us for key in await store.keys()} == {"k1": 77, "k2": FULL_KEY.used_us}
    await store.used({})


async def test_an_entry_comes_back_whole(store: AccessStore):
    whole = AuditEntry(
        id="id",
        at_us=1 << 50,
        service="functions",
        action="pool.close",
        actor="ada",
        actor_kind="gang",
        key_id="k1",
        origin="203.0.113.9 via 10.0.0.7",
        project="chem",
        objects=("pool_1", "é 100%_\\"),
        object_count=30,
        result="PERMISSION_DENIED",
        detail='ClosePool needs the role "operator"',
        request_id="r1",
    )
    await store.add([whole])
    (kept,) = await store.entries(AuditQuery(), None, 10)
    assert kept.entry == whole


async def test_an_entry_that_comes_twice_is_kept_once(store: AccessStore):
    await store.add([an_entry(1), an_entry(2)])
    await store.add([an_entry(2), an_entry(3)])
    await store.add([])
    assert await numbers(store) == [3, 2, 1]


async def test_entries_come_by_pages_the_newest_first(store: AccessStore):
    await store.add([an_entry(number) for number in range(10)])
    first = await store.entries(AuditQuery(), None, 4)
    second = await store.entries(AuditQuery(), first[-1].sequence, 4)
    assert [each.entry.at_us for each in first + second] == [9, 8, 7, 6, 5, 4, 3, 2]


QUERIES = [
    (AuditQuery(), [5, 4, 3, 2, 1]),
    (AuditQuery(project="chem"), [2]),
    (AuditQuery(actor="bob"), [3]),
    (AuditQuery(action="job.cancel"), [5, 3, 2]),
    (AuditQuery(action="job."), [5, 4, 3, 2]),
    (AuditQuery(action="job"), []),
    (AuditQuery(object="job_1"), [5]),
    (AuditQuery(object="job_11"), [3]),
    (AuditQuery(object="job%"), []),
    (AuditQuery(key_id="k1"), [4]),
    (AuditQuery(result="OK"), [4, 3, 2, 1]),
    (AuditQuery(result=REFUSED), [5]),
    (AuditQuery(result="NOT_FOUND"), []),
    (AuditQuery(since_us=2, until_us=4), [3, 2]),
    (AuditQuery(action="job.", actor="ada", since_us=3), [5, 4]),
]


async def test_entries_are_found_by_what_is_asked(store: AccessStore):
    await store.add(
        [
            an_entry(1, action="key.create"),
            an_entry(2, project="chem"),
            an_entry(3, actor="bob", objects=("job_11",)),
            an_entry(4, action="job.hold", key_id="k1"),
            an_entry(5, result="PERMISSION_DENIED", objects=("job_0", "job_1")),
        ]
    )
    found = [(query, await numbers(store, query)) for query, _ in QUERIES]
    assert found == QUERIES


async def test_old_entries_are_let_go(store: AccessStore):
    await store.add([an_entry(number) for number in range(5)])
    assert await store.forget(3) == 3
    assert await numbers(store) == [4, 3]
    assert await store.forget(3) == 0
