from __future__ import annotations

from dataclasses import replace

import pytest
from gridloom_services.common.errors import InvalidRequestError, NotFoundError, SettingsError
from gridloom_services.common.keys import ApiKey, KeyHasher, new_key
from gridloom_services.common.roles import EVERYWHERE, Role
from gridloom_services.scheduler.access.book import COARSE_US, AccessBook, KeyRequest
from gridloom_services.scheduler.access.bootstrap import read_bootstrap_key
from gridloom_services.scheduler.access.store.memory import MemoryAccessStore

HASHER = KeyHasher(b"0" * 32)
SECOND_US = 1_000_000


class Bench:
    def __init__(self) -> None:
        self.now_us = 1000 * SECOND_US
        self.store = MemoryAccessStore()
        self.book = self.opened()

    def opened(self) -> AccessBook:
        return AccessBook(self.store, HASHER, new_key, lambda: self.now_us)

    async def key(self, owner="ada", project="chem", role=Role.SUBMITTER, **more):
        asked = KeyRequest(owner=owner, project=project, role=role, created_by="root", **more)
        key, text, _ = await self.book.create(asked)
        return key, text

    async def verdict(self, text: ApiKey):
        (verdict,) = await self.book.verdicts([HASHER.proof(text)])
        return verdict

    async def role(self, text: ApiKey) -> Role:
        principal = (await self.verdict(text)).principal
        return principal.role if principal else Role.NONE


@pytest.fixture
def bench():
    return Bench()


async def test_a_key_is_known_as_soon_as_it_is_made_and_after_a_restart(bench):
    key, text = await bench.key()
    for book in (bench.book, bench.opened()):
        bench.book = book
        await book.load()
        principal = (await bench.verdict(text)).principal
        assert (principal.name, principal.project, principal.role, principal.key_id) == (
            *("ada", "chem", Role.SUBMITTER),
            key.id,
        )
        assert not principal.is_everywhere


async def test_a_key_for_every_project_opens_every_project(bench):
    _, text = await bench.key("root", EVERYWHERE, Role.ADMIN)
    principal = (await bench.verdict(text)).principal
    assert principal.role_in("any") is Role.ADMIN
    assert principal.project == "default"


async def test_what_is_kept_of_a_key_does_not_open_anything(bench):
    key, text = await bench.key()
    (kept,) = await bench.store.keys()
    assert text.secret not in repr(kept)
    assert text.secret.encode() not in kept.digest
    assert kept.digest == HASHER.proof(text).digest != KeyHasher(b"1" * 32).proof(text).digest
    assert key == kept


async def test_a_wrong_secret_with_a_right_id_is_answered_as_an_unknown_id_is(bench):
    key, _ = await bench.key()
    wrong = await bench.verdict(replace(new_key(), id=key.id))
    assert (wrong.principal, wrong.refusal) == (None, f"the API key {key.id} is not known here")
    unknown = new_key()
    assert (await bench.verdict(unknown)).refusal == f"the API key {unknown.id} is not known here"


async def test_a_revoked_key_opens_nothing_at_once_and_for_good(bench):
    key, text = await bench.key()
    revoked = await bench.book.revoke(key.id, "bob")
    assert (revoked.revoked_us, revoked.revoked_by) == (bench.now_us, "bob")
    assert (await bench.verdict(text)).refusal == f"the API key {key.id} was revoked"
    bench.now_us += 1
    assert await bench.book.revoke(key.id, "eve") == revoked
    bench.book = bench.opened()
    await bench.book.load()
    assert (await bench.verdict(text)).principal is None


async def test_a_key_expires(bench):
    key, text = await bench.key(expires_us=bench.now_us + SECOND_US)
    assert (await bench.verdict(text)).expires_at == 1001.0
    bench.now_us += SECOND_US
    assert (await bench.verdict(text)).refusal == f"the API key {key.id} has expired"
    with pytest.raises(InvalidRequestError, match="expired already"):
        await bench.key(expires_us=bench.now_us)


class TestMembers:
    async def test_a_key_does_what_its_owner_may_and_no_more(self, bench):
        _, text = await bench.key(role=Role.OPERATOR)
        await bench.book.set_member("chem", "ada", Role.VIEWER, "root")
        assert await bench.role(text) is Role.VIEWER
        await bench.book.set_member("chem", "ada", Role.ADMIN, "root")
        assert await bench.role(text) is Role.OPERATOR
        await bench.book.remove_member("chem", "ada")
        assert "no member" in (await bench.verdict(text)).refusal

    async def test_a_role_everywhere_holds_in_each_project(self, bench):
        await bench.book.set_member(EVERYWHERE, "ada", Role.OPERATOR, "root")
        _, text = await bench.key(role=Role.OPERATOR)
        assert await bench.role(text) is Role.OPERATOR
        assert bench.book.members("chem") == []

    async def test_who_is_no_member_becomes_one_by_a_key(self, bench):
        asked = KeyRequest(owner="ci", project="chem", role=Role.SUBMITTER, created_by="root")
        assert (await bench.book.create(asked))[2] is True
        assert (await bench.book.create(asked))[2] is False
        (member,) = bench.book.members("chem")
        assert (member.user, member.role, member.added_by) == ("ci", Role.SUBMITTER, "root")

    async def test_a_key_that_says_more_than_its_owner_may_is_refused(self, bench):
        await bench.book.set_member("chem", "ada", Role.VIEWER, "root")
        with pytest.raises(InvalidRequestError, match='ada is "viewer" in project "chem"'):
            await bench.key(role=Role.SUBMITTER)

    async def test_who_is_no_member_cannot_be_removed(self, bench):
        await bench.book.set_member("chem", "ada", Role.VIEWER, "root")
        with pytest.raises(NotFoundError, match="members: ada"):
            await bench.book.remove_member("chem", "bob")

    async def test_the_last_administrator_stays_one(self, bench):
        await bench.book.set_member(EVERYWHERE, "root", Role.ADMIN, "root")
        with pytest.raises(InvalidRequestError, match="last administrator"):
            await bench.book.remove_member(EVERYWHERE, "root")
        with pytest.raises(InvalidRequestError, match="last administrator"):
            await bench.book.set_member(EVERYWHERE, "root", Role.VIEWER, "root")
        await bench.book.set_member(EVERYWHERE, "bob", Role.ADMIN, "root")
        await bench.book.remove_member(EVERYWHERE, "root")

    @pytest.mark.parametrize("user", ["", "a b", "-x", "x" * 129, "a/b", "é"])
    async def test_what_cannot_be_a_user_is_refused(self, bench, user):
        with pytest.raises(InvalidRequestError, match="cannot be the name"):
            await bench.key(owner=user)

    @pytest.mark.parametrize("project", ["", "Chem", "a b", "**", "x" * 64])
    async def test_what_cannot_be_a_project_is_refused(self, bench, project):
        with pytest.raises(InvalidRequestError, match="cannot be a project"):
            await bench.book.set_member(project, "ada", Role.VIEWER, "root")


async def test_the_last_use_is_noted_but_not_each(bench):
    key, text = await bench.key()
    assert bench.book.key(key.id).used_us is None
    first = bench.now_us
    for _ in range(3):
        await bench.verdict(text)
        bench.now_us += SECOND_US
    assert bench.book.key(key.id).used_us == first
    await bench.book.write_uses()
    assert [each.used_us for each in await bench.store.keys()] == [first]
    bench.now_us = first + COARSE_US
    await bench.verdict(text)
    assert bench.book.key(key.id).used_us == bench.now_us


async def test_keys_are_listed_by_project_and_owner_the_newest_first_ended_ones_not(
    bench,
):
    names = []
    for owner, project in (("ada", "chem"), ("bob", "chem"), ("ada", "physics")):
        names.append((await bench.key(owner, project))[0].id)
        bench.now_us += 1
    await bench.book.revoke(names[1], "root")

    def listed(*words, **more) -> list[str]:
        return [key.id for key in bench.book.keys(*words, **more)]

    assert listed("") == [names[2], names[0]]
    assert listed("chem") == [names[0]]
    assert listed("chem", also_ended=True) == [names[1], names[0]]
    assert listed("", "ada") == [names[2], names[0]]
    with pytest.raises(NotFoundError, match="does not exist"):
        bench.book.key("none")


class TestBootstrap:
    async def test_the_files_key_is_an_administrators(self, bench):
        text = new_key()
        await bench.book.admit_bootstrap(text)
        await bench.book.admit_bootstrap(text)
        principal = (await bench.verdict(text)).principal
        assert principal.name == "admin"
        assert principal.role_in("any") is Role.ADMIN
        assert len(bench.book.keys("")) == 1

    async def test_another_files_key_takes_its_place(self, bench):
        old, new = new_key(), new_key()
        await bench.book.admit_bootstrap(old)
        await bench.book.admit_bootstrap(new)
        assert "revoked" in (await bench.verdict(old)).refusal
        assert (await bench.verdict(new)).principal is not None

    async def test_one_that_was_revoked_stays_so(self, bench):
        text = new_key()
        await bench.book.admit_bootstrap(text)
        await bench.book.revoke(text.id, "admin")
        await bench.book.admit_bootstrap(text)
        assert "revoked" in (await bench.verdict(text)).refusal

    def test_a_file_is_read_and_may_end_its_line(self, tmp_path):
        text = new_key()
        (tmp_path / "key").write_text(f"{text.text}\n")
        assert read_bootstrap_key(tmp_path / "key") == text

    @pytest.mark.parametrize("content", ["", "secret-password", "glk_short_x"])
    def test_a_file_without_a_key_is_refused_without_saying_what_is_in_it(self, tmp_path, content):
        (tmp_path / "key").write_text(content)
        with pytest.raises(SettingsError, match="holds no API key") as caught:
            read_bootstrap_key(tmp_path / "key")
        assert not content or content not in caught.value.message
        with pytest.raises(SettingsError, match="cannot be read"):
            read_bootstrap_key(tmp_path / "none")
