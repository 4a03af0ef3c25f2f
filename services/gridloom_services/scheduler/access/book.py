"""Keys and members, in memory and on disk: the truth about who may come in.

There is one scheduler, so what is in memory is what is on disk. A change is on disk before it
counts here, and counts at once for every call of this process.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.errors import InvalidRequestError, NotFoundError
from gridloom_services.common.remote_keys import key_principal
from gridloom_services.common.ring import Verdict
from gridloom_services.common.roles import EVERYWHERE, Role
from gridloom_services.scheduler.access.key import (
    Key,
    Member,
    check_description,
    check_place,
    check_user,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gridloom_services.common.keys import ApiKey, KeyHasher, KeyProof
    from gridloom_services.scheduler.access.store.base import AccessStore

# A key's last use is written down when it was this much later than the last that was.
COARSE_US = 300 * 1_000_000

BOOTSTRAP_USER = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """What is asked of a new key."""

    owner: str
    project: str
    role: Role
    created_by: str
    description: str = ""
    expires_us: int | None = None


class AccessBook:
    """Makes and revokes keys, gives and takes roles, and answers whose a key is."""

    # As a `Source`: nobody has to be asked.
    is_immediate = True

    def __init__(
        self,
        store: AccessStore,
        hasher: KeyHasher,
        new_key: Callable[[], ApiKey],
        now_us: Callable[[], int],
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._new_key = new_key
        self._now_us = now_us
        self._keys: dict[str, Key] = {}
        self._members: dict[tuple[str, str], Member] = {}
        self._used: dict[str, int] = {}

    async def load(self) -> None:
        """Read everything; before it nobody is known."""
        self._keys = {key.id: key for key in await self._store.keys()}
        members = await self._store.members()
        self._members = {(member.project, member.user): member for member in members}

    # ---- keys

    async def create(self, asked: KeyRequest) -> tuple[Key, ApiKey, bool]:
        """Return a new key, the key itself, and whether its owner has become a member by it.

        InvalidRequestError where the owner is a member with a lesser role: such a key would do
        less than it says.
        """
        self._check(asked)
        added = self._new_member(asked)
        text = self._new_key()
        key = self._key_of(text, asked)
        await self._store.put(key, added)
        self._keys[key.id] = key
        if added is not None:
            self._members[added.project, added.user] = added
        return key, text, added is not None

    def _check(self, asked: KeyRequest) -> None:
        check_user(asked.owner, "owner")
        check_place(asked.project)
        check_description(asked.description)
        if asked.expires_us is not None and asked.expires_us <= self._now_us():
            raise InvalidRequestError("the key would have expired already", field="expires_at")

    def _new_member(self, asked: KeyRequest) -> Member | None:
        has = self.role_of(asked.owner, asked.project)
        if has >= asked.role:
            return None
        if has:
            raise InvalidRequestError(
                f'{asked.owner} is "{has.word}" in {_place(asked.project)}: a key cannot be'
                f' "{asked.role.word}"; give the role first (gridloom members set)',
                field="role",
                given=asked.role.word,
                allowed=has.word,
            )
        return Member(
            asked.project, asked.owner, asked.role, self._now_us(), added_by=asked.created_by
        )

    def _key_of(self, text: ApiKey, asked: KeyRequest) -> Key:
        return Key(
            id=text.id,
            digest=self._hasher.proof(text).digest,
            owner=asked.owner,
            project=asked.project,
            role=asked.role,
            created_us=self._now_us(),
            created_by=asked.created_by,
            description=asked.description,
            expires_us=asked.expires_us,
        )

    def key(self, key_id: str) -> Key:
        """Return a key by its id. NotFoundError where there is none."""
        if key_id not in self._keys:
            raise NotFoundError(f'API key "{key_id}" does not exist', field="key_id", given=key_id)
        return self._with_use(self._keys[key_id])

    def keys(self, project: str, owner: str = "", *, also_ended: bool = False) -> list[Key]:
        """Return keys of a project (empty: of all), the newest first."""
        now_us = self._now_us()
        found = [
            self._with_use(key)
            for key in self._keys.values()
            if project in {"", key.project}
            and owner in {"", key.owner}
            and (also_ended or not key.end_reason(now_us))
        ]
        return sorted(found, key=lambda key: key.created_us, reverse=True)

    async def revoke(self, key_id: str, by: str) -> Key:
        """End a key for good. One that is revoked already stays as it is."""
        key = self.key(key_id)
        if key.revoked_us is None:
            key = replace(key, revoked_us=self._now_us(), revoked_by=by)
            await self._store.put(key)
            self._keys[key_id] = key
        return key

    async def admit_bootstrap(self, text: ApiKey) -> None:
        """Let the key of the first administrator's file in, and those of older files out.

        One that was revoked by hand stays so.
        """
        for key in list(self._keys.values()):
            if key.is_bootstrap and key.id != text.id:
                await self.revoke(key.id, BOOTSTRAP_USER)
        digest = self._hasher.proof(text).digest
        known = self._keys.get(text.id)
        if known is not None and hmac.compare_digest(known.digest, digest):
            return
        asked = KeyRequest(
            owner=BOOTSTRAP_USER,
            project=EVERYWHERE,
            role=Role.ADMIN,
            created_by=BOOTSTRAP_USER,
            description="the first administrator's, from a file",
        )
        key = replace(self._key_of(text, asked), is_bootstrap=True)
        member = Member(EVERYWHERE, key.owner, Role.ADMIN, key.created_us, BOOTSTRAP_USER)
        await self._store.put(key, member)
        self._keys[key.id] = key
        self._members[member.project, member.user] = member

    # ---- whose a key is

    async def verdicts(self, proofs: Sequence[KeyProof]) -> list[Verdict]:
        """Say whose the keys are, in the order asked."""
        return [self._verdict(proof) for proof in proofs]

    def _verdict(self, proof: KeyProof) -> Verdict:
        key = self._keys.get(proof.id)
        # Compared with something in any case: how long it takes says nothing about which ids exist.
        is_same = hmac.compare_digest(key.digest if key else bytes(len(proof.digest)), proof.digest)
        if key is None or not is_same:
            return Verdict(None, f"the API key {proof.id} is not known here")
        now_us = self._now_us()
        refusal = key.end_reason(now_us)
        role = min(key.role, self.role_of(key.owner, key.project))
        if not refusal and not role:
            refusal = f"{key.owner} is no member of {_place(key.project)} any more"
        if refusal:
            return Verdict(None, refusal)
        self._note_use(key, now_us)
        expires_at = None if key.expires_us is None else key.expires_us / 1e6
        return Verdict(key_principal(key.owner, key.project, role, key.id), "", expires_at)

    def _note_use(self, key: Key, now_us: int) -> None:
        last = self._used.get(key.id) or key.used_us
        if last is None or now_us - last >= COARSE_US:
            self._used[key.id] = now_us

    def _with_use(self, key: Key) -> Key:
        return replace(key, used_us=self._used.get(key.id, key.used_us))

    async def write_uses(self) -> None:
        """Write down which keys were used since the last time; from now and then."""
        used, self._used = self._used, {}
        if used:
            await self._store.used(used)
            for key_id, at_us in used.items():
                self._keys[key_id] = replace(self._keys[key_id], used_us=at_us)

    # ---- members

    def role_of(self, user: str, project: str) -> Role:
        """Return somebody's role in a project: given there, or everywhere."""
        given = [self._members.get((place, user)) for place in (project, EVERYWHERE)]
        return max((member.role for member in given if member), default=Role.NONE)

    def members(self, project: str) -> list[Member]:
        """Return the members of a project (empty: of all), by name."""
        found = [each for each in self._members.values() if project in {"", each.project}]
        return sorted(found, key=lambda member: (member.project, member.user))

    async def set_member(self, project: str, user: str, role: Role, by: str) -> Member:
        """Give a role, or change it."""
        check_place(project)
        check_user(user, "user")
        member = Member(project, user, role, self._now_us(), by)
        self._check_last_admin(project, user, role)
        await self._store.put(member=member)
        self._members[project, user] = member
        return member

    async def remove_member(self, project: str, user: str) -> None:
        """Take somebody's role away: their keys of this project open nothing any more."""
        if (project, user) not in self._members:
            names = ", ".join(member.user for member in self.members(project))
            raise NotFoundError(
                f'"{user}" is no member of {_place(project)}; members: {names or "none"}',
                field="user",
                given=user,
                allowed=names,
            )
        self._check_last_admin(project, user, Role.NONE)
        await self._store.remove_member(project, user)
        del self._members[project, user]

    def _check_last_admin(self, project: str, user: str, role: Role) -> None:
        """Nobody can lock everybody out of a platform that is entered by keys."""
        if project != EVERYWHERE or role is Role.ADMIN:
            return
        admins = [m.user for m in self.members(EVERYWHERE) if m.role is Role.ADMIN]
        if admins == [user]:
            raise InvalidRequestError(
                f"{user} is the last administrator of this platform", field="user", given=user
            )


def _place(project: str) -> str:
    return "every project" if project == EVERYWHERE else f'project "{project}"'
