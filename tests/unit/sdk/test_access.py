from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from gridloom.access.info import EVERYWHERE, NewKey, read_key, role_word
from gridloom.access.operations import key_id_of
from gridloom.aio import AsyncClient
from gridloom.api.scheduler.v1 import access_pb2 as pb
from gridloom.errors import InvalidRequestError
from gridloom.locate import FixedAddress, Place

KEY = pb.Key(id="k1", owner="ada", project="chem", role=pb.ACCESS_ROLE_ADMIN)


def moment(message, field):
    return getattr(message, field).ToDatetime(tzinfo=UTC)


def test_a_key_is_made_for_the_clients_project_unless_another_is_named(platform, client):
    platform.script("CreateKey", pb.CreateKeyResponse(key=KEY, secret="glk_k1_x"))
    made = client.access.create_key(role="admin", project=EVERYWHERE)
    assert (made.key.id, made.key.role, made.secret) == ("k1", "admin", "glk_k1_x")
    assert "glk_k1_x" not in repr(made)
    client.defaults = type(client.defaults)(project="physics")
    client.access.create_key()
    assert [each.project for each in platform.requests["CreateKey"]] == ["*", "physics"]


@pytest.mark.parametrize("expires", ["90d", timedelta(days=90), 90 * 24 * 3600])
def test_an_expiry_may_be_a_span_from_now(platform, client, expires):
    platform.script("CreateKey", pb.CreateKeyResponse(key=KEY))
    client.access.create_key(expires=expires)
    (asked,) = platform.requests["CreateKey"]
    ahead = moment(asked, "expires_at") - datetime.now(UTC)
    assert timedelta(days=89) < ahead <= timedelta(days=90)


def test_an_expiry_may_be_a_point_but_not_without_a_zone(platform, client):
    platform.script("CreateKey", pb.CreateKeyResponse(key=KEY))
    point = datetime(2040, 1, 1, tzinfo=UTC)
    client.access.create_key(expires=point)
    client.access.create_key(expires="2040-01-01T00:00:00Z")
    assert {moment(each, "expires_at") for each in platform.requests["CreateKey"]} == {point}
    with pytest.raises(InvalidRequestError, match="needs a zone"):
        client.access.create_key(expires=datetime(2040, 1, 1))  # noqa: DTZ001  # the mistake meant


def test_a_key_has_expired_when_its_time_is_over():
    message = pb.Key(id="k1")
    message.expires_at.FromSeconds(1000)
    before, after = (datetime.fromtimestamp(at, UTC) for at in (999, 1000))
    assert (read_key(message, before).state, read_key(message, after).state) == (
        *("active", "expired"),
    )


def test_a_whole_key_stands_for_its_id():
    assert key_id_of("glk_abc_secret") == key_id_of("abc") == "abc"


def test_a_role_that_is_newer_than_this_client_is_none():
    assert [role_word(number) for number in (0, 1, 4, 9)] == ["none", "viewer", "admin", "none"]


def test_spans_of_the_audit_log_count_back_and_are_the_same_on_every_page(platform, client):
    more = pb.ListAuditEntriesResponse(entries=[pb.AuditEntry(id="a")], next_page_token="t")
    platform.script("ListAuditEntries", more, pb.ListAuditEntriesResponse())
    assert [entry.id for entry in client.access.audit(since="1h", actor="ada")] == ["a"]
    first, second = platform.requests["ListAuditEntries"]
    assert first.filter == second.filter
    back = datetime.now(UTC) - moment(first.filter, "since")
    assert timedelta(minutes=59) < back < timedelta(minutes=61)
    with pytest.raises(InvalidRequestError, match='did you mean "actor"'):
        list(client.access.audit(acter="ada"))


async def test_the_asyncio_face_does_the_same(platform):
    from gridloom.client import Client

    sync = Client(Place(FixedAddress(platform.endpoint), project="chem"), patience_s=5)
    client = AsyncClient(sync)
    member = pb.Member(project="chem", user="ada", role=pb.ACCESS_ROLE_VIEWER)
    platform.script("WhoAmI", pb.WhoAmIResponse(name="ada", role=pb.ACCESS_ROLE_ADMIN))
    platform.script("CreateKey", pb.CreateKeyResponse(key=KEY, secret="s"))
    platform.script("ListKeys", pb.ListKeysResponse(keys=[KEY]))
    platform.script("RevokeKey", pb.RevokeKeyResponse(key=KEY))
    platform.script("ListMembers", pb.ListMembersResponse(members=[member]))
    platform.script("SetMember", pb.SetMemberResponse(member=member))
    platform.script("RemoveMember", pb.RemoveMemberResponse())
    platform.script(
        "ListAuditEntries", pb.ListAuditEntriesResponse(entries=[pb.AuditEntry(id="a")])
    )
    access = client.access
    assert (await access.whoami()).name == "ada"
    assert isinstance(await access.create_key(), NewKey)
    assert [key.id for key in await access.keys()] == ["k1"]
    assert (await access.revoke_key("k1")).id == "k1"
    assert [each.user for each in await access.members()] == ["ada"]
    assert (await access.set_member("ada", "viewer")).role == "viewer"
    await access.remove_member("ada")
    assert [entry.id async for entry in access.audit()] == ["a"]
    assert platform.requests["SetMember"][0].project == "chem"
    sync.close()
