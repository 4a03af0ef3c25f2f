"""`client.access`: keys, members and the audit log, as a user of the SDK meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from gridloom.access import operations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gridloom.access.info import AuditInfo, Identity, KeyInfo, MemberInfo, NewKey
    from gridloom.access.operations import AuditOptions, Moment
    from gridloom.aio import AsyncClient
    from gridloom.client import Client


class Access:
    """What `client.access` can do. Where a project is not named, it is the client's own."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def whoami(self) -> Identity:
        """Whom the platform takes this client for, and with which role."""
        return self._client.connection.run(operations.who_am_i())

    def create_key(
        self,
        *,
        role: str = "submitter",
        project: str | None = None,
        owner: str = "",
        description: str = "",
        expires: Moment | None = None,
    ) -> NewKey:
        """A new API key, for oneself unless `owner` names somebody. Its `secret` is shown once.

        `expires` is a point in time or how far it is away ("90d"). A `PermissionDeniedError` where
        the role would be more than one's own.
        """
        place = self._client.defaults.project if project is None else project
        made = operations.create_key(place, role, owner, description, expires)
        return self._client.connection.run(made)

    def keys(
        self, project: str | None = None, *, owner: str = "", also_ended: bool = False
    ) -> list[KeyInfo]:
        """One's own keys, the newest first; an admin sees everybody's."""
        place = self._client.defaults.project if project is None else project
        found = operations.list_keys(place, owner, also_ended=also_ended)
        return self._client.connection.run(found)

    def revoke_key(self, key_id: str) -> KeyInfo:
        """End a key: within seconds it opens nothing any more. Takes the id, or the key itself."""
        return self._client.connection.run(operations.revoke_key(key_id))

    def members(self, project: str | None = None) -> list[MemberInfo]:
        """Who has which role in the project."""
        place = self._client.defaults.project if project is None else project
        return self._client.connection.run(operations.list_members(place))

    def set_member(self, user: str, role: str, *, project: str | None = None) -> MemberInfo:
        """Give somebody a role, or change it; their keys follow within seconds."""
        place = self._client.defaults.project if project is None else project
        return self._client.connection.run(operations.set_member(place, user, role))

    def remove_member(self, user: str, *, project: str | None = None) -> None:
        """Take somebody's role away; their keys of this project open nothing any more."""
        place = self._client.defaults.project if project is None else project
        self._client.connection.run(operations.remove_member(place, user))

    def audit(self, **options: Unpack[AuditOptions]) -> Iterator[AuditInfo]:
        """The audit log, the newest first; pages are asked for as they are needed.

        `since` and `until` are points in time, or how long ago ("2h"); `action` is whole or the
        beginning of several ("job."); `result` is a status, or "refused".
        """
        fixed, token = operations.frozen_options(options), ""
        while True:
            page = operations.audit_page(fixed, token)
            entries, token = self._client.connection.run(page)
            yield from entries
            if not token:
                return


class AsyncAccess:
    """The same, awaited."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def whoami(self) -> Identity:
        """Whom the platform takes this client for, and with which role."""
        return await self._client.connection.run(operations.who_am_i())

    async def create_key(
        self,
        *,
        role: str = "submitter",
        project: str | None = None,
        owner: str = "",
        description: str = "",
        expires: Moment | None = None,
    ) -> NewKey:
        """A new API key; see `Access.create_key`."""
        place = self._client.defaults.project if project is None else project
        made = operations.create_key(place, role, owner, description, expires)
        return await self._client.connection.run(made)

    async def keys(
        self, project: str | None = None, *, owner: str = "", also_ended: bool = False
    ) -> list[KeyInfo]:
        """One's own keys, the newest first; an admin sees everybody's."""
        place = self._client.defaults.project if project is None else project
        found = operations.list_keys(place, owner, also_ended=also_ended)
        return await self._client.connection.run(found)

    async def revoke_key(self, key_id: str) -> KeyInfo:
        """End a key; see `Access.revoke_key`."""
        return await self._client.connection.run(operations.revoke_key(key_id))

    async def members(self, project: str | None = None) -> list[MemberInfo]:
        """Who has which role in the project."""
        place = self._client.defaults.project if project is None else project
        return await self._client.connection.run(operations.list_members(place))

    async def set_member(self, user: str, role: str, *, project: str | None = None) -> MemberInfo:
        """Give somebody a role, or change it."""
        place = self._client.defaults.project if project is None else project
        return await self._client.connection.run(operations.set_member(place, user, role))

    async def remove_member(self, user: str, *, project: str | None = None) -> None:
        """Take somebody's role away."""
        place = self._client.defaults.project if project is None else project
        await self._client.connection.run(operations.remove_member(place, user))

    def audit(self, **options: Unpack[AuditOptions]) -> AsyncIterator[AuditInfo]:
        """The audit log, for `async for`; see `Access.audit`."""
        fixed = operations.frozen_options(options)
        return self._client.paged(lambda token: operations.audit_page(fixed, token))
