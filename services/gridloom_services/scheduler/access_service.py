"""The gRPC face of keys, members and the audit log."""

# gRPC names its methods; their second argument is gRPC's, and nothing here needs it.
# ruff: noqa: ARG002, N802

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridloom.api.scheduler.v1 import access_pb2 as pb
from gridloom.api.scheduler.v1 import access_pb2_grpc
from gridloom.version import VERSION

from gridloom_services.common.auth import (
    current_principal,
    project_to_look_at,
    require_project,
)
from gridloom_services.common.errors import PermissionDeniedError
from gridloom_services.common.keys import KeyProof
from gridloom_services.common.remote_audit import audit_entry, audit_message
from gridloom_services.common.roles import EVERYWHERE, Role
from gridloom_services.scheduler.access.book import KeyRequest
from gridloom_services.scheduler.access.key import check_role
from gridloom_services.scheduler.access.store.base import AuditQuery
from gridloom_services.scheduler.paging import page_size, read_token, write_token
from gridloom_services.scheduler.validation import check_between

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

    from gridloom_services.common.audit import AuditTrail
    from gridloom_services.common.auth import Principal
    from gridloom_services.common.ring import Verdict
    from gridloom_services.scheduler.access.book import AccessBook
    from gridloom_services.scheduler.access.key import Key, Member
    from gridloom_services.scheduler.access.store.base import AccessStore

_MOST_AT_ONCE = 10_000


class AccessServicer(access_pb2_grpc.AccessServiceServicer):
    """Answers `AccessService`."""

    def __init__(
        self,
        book: AccessBook,
        store: AccessStore,
        trail: AuditTrail,
        is_live: Callable[[str, int | None, int], bool],
    ) -> None:
        self._book = book
        self._store = store
        self._trail = trail
        self._is_live = is_live

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Any) -> pb.WhoAmIResponse:
        """Show who the caller is taken for."""
        caller = current_principal()
        answer = pb.WhoAmIResponse(
            name=caller.name,
            kind=caller.kind,
            project=caller.reach,
            role=_wire_role(caller.role),
            key_id=caller.key_id,
            version=VERSION,
        )
        if caller.key_id:
            _set_time(answer, "expires_at", self._book.key(caller.key_id).expires_us)
        return answer

    # ---- keys

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Any) -> pb.CreateKeyResponse:
        """Make a key."""
        caller = current_principal()
        owner = request.owner or caller.name
        project = require_project(request.project, owner=owner)
        asked = KeyRequest(
            owner=owner,
            project=project,
            role=check_role(request.role),
            created_by=caller.name,
            description=request.description,
            expires_us=_micros(request, "expires_at"),
        )
        self._check_reach(caller, asked)
        key, text, added = await self._book.create(asked)
        return pb.CreateKeyResponse(key=key_message(key), secret=text.text, owner_was_added=added)

    def _check_reach(self, caller: Principal, asked: KeyRequest) -> None:
        """A key makes none that does more, or lasts longer, than itself."""
        has = caller.role_in(asked.project)
        if asked.role > has:
            raise PermissionDeniedError(
                f'a key that is "{has.word}" in project "{asked.project}" makes none that is'
                f' "{asked.role.word}"',
                field="role",
                role=asked.role.word,
                project=asked.project,
                has=has.word,
            )
        if not caller.key_id or has is Role.ADMIN:
            return
        ends_us = self._book.key(caller.key_id).expires_us
        if ends_us is not None and (asked.expires_us is None or asked.expires_us > ends_us):
            raise PermissionDeniedError(
                f"the key {caller.key_id} makes none that lasts longer than itself;"
                ' an "admin" of the project can',
                field="expires_at",
                role=Role.ADMIN.word,
                project=asked.project,
                has=has.word,
            )

    async def ListKeys(self, request: pb.ListKeysRequest, context: Any) -> pb.ListKeysResponse:
        """Show keys."""
        caller = current_principal()
        project = project_to_look_at(request.project)
        owner = request.owner
        if caller.role_in(project or EVERYWHERE) < Role.ADMIN:
            owner = owner or caller.name
            require_project(project, owner=owner)
        keys = self._book.keys(project, owner, also_ended=request.all)
        return pb.ListKeysResponse(keys=[key_message(key) for key in keys])

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Any) -> pb.RevokeKeyResponse:
        """End a key."""
        key = self._book.key(request.key_id)
        require_project(key.project, owner=key.owner)
        key = await self._book.revoke(request.key_id, current_principal().name)
        return pb.RevokeKeyResponse(key=key_message(key))

    async def VerifyKeys(
        self, request: pb.VerifyKeysRequest, context: Any
    ) -> pb.VerifyKeysResponse:
        """Say whose keys these are, and which gangs live."""
        check_between("proofs", len(request.proofs), 0, _MOST_AT_ONCE)
        check_between("gangs", len(request.gangs), 0, _MOST_AT_ONCE)
        proofs = [KeyProof(each.key_id, each.digest) for each in request.proofs]
        verdicts = await self._book.verdicts(proofs)
        return pb.VerifyKeysResponse(
            verdicts=[verdict_message(each) for each in verdicts],
            gangs=[pb.GangVerdict(is_over=not self._lives(each)) for each in request.gangs],
        )

    def _lives(self, gang: pb.GangProof) -> bool:
        element = gang.element if gang.HasField("element") else None
        return self._is_live(gang.job_id, element, gang.attempt)

    # ---- members

    async def SetMember(self, request: pb.SetMemberRequest, context: Any) -> pb.SetMemberResponse:
        """Give a role."""
        project = require_project(request.project)
        role = check_role(request.role)
        by = current_principal().name
        member = await self._book.set_member(project, request.user, role, by)
        return pb.SetMemberResponse(member=member_message(member))

    async def RemoveMember(
        self, request: pb.RemoveMemberRequest, context: Any
    ) -> pb.RemoveMemberResponse:
        """Take a role away."""
        await self._book.remove_member(require_project(request.project), request.user)
        return pb.RemoveMemberResponse()

    async def ListMembers(
        self, request: pb.ListMembersRequest, context: Any
    ) -> pb.ListMembersResponse:
        """Show who has which role."""
        members = self._book.members(project_to_look_at(request.project))
        return pb.ListMembersResponse(members=[member_message(each) for each in members])

    # ---- the audit log

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Any
    ) -> pb.ListAuditEntriesResponse:
        """Show entries by pages, the newest first; what this process has seen is among them."""
        size = page_size(request.page_size)
        question = request.filter.SerializeToString(deterministic=True)
        place = read_token(request.page_token, question, 1)
        query = _audit_query(request.filter, project_to_look_at(request.filter.project))
        await self._trail.flush()
        found = await self._store.entries(query, place[0] if place else None, size + 1)
        answer = pb.ListAuditEntriesResponse(
            entries=[audit_message(each.entry) for each in found[:size]]
        )
        if len(found) > size:
            answer.next_page_token = write_token(question, found[size - 1].sequence)
        return answer

    async def ReportAuditEntries(
        self, request: pb.ReportAuditEntriesRequest, context: Any
    ) -> pb.ReportAuditEntriesResponse:
        """Keep what another service has seen."""
        check_between("entries", len(request.entries), 0, _MOST_AT_ONCE)
        await self._store.add([audit_entry(each) for each in request.entries])
        return pb.ReportAuditEntriesResponse()


def key_message(key: Key) -> pb.Key:
    """A key as a message: nothing of it opens anything."""
    message = pb.Key(
        id=key.id,
        owner=key.owner,
        project=key.project,
        role=_wire_role(key.role),
        description=key.description,
        created_by=key.created_by,
        revoked_by=key.revoked_by,
    )
    message.created_at.FromMicroseconds(key.created_us)
    _set_time(message, "expires_at", key.expires_us)
    _set_time(message, "revoked_at", key.revoked_us)
    _set_time(message, "last_used_at", key.used_us)
    return message


def member_message(member: Member) -> pb.Member:
    """A member as a message."""
    message = pb.Member(
        project=member.project,
        user=member.user,
        role=_wire_role(member.role),
        added_by=member.added_by,
    )
    message.added_at.FromMicroseconds(member.added_us)
    return message


def verdict_message(verdict: Verdict) -> pb.KeyVerdict:
    """A verdict as a message."""
    caller = verdict.principal
    if caller is None:
        return pb.KeyVerdict(refusal=verdict.refusal)
    message = pb.KeyVerdict(owner=caller.name, project=caller.reach, role=_wire_role(caller.role))
    if verdict.expires_at is not None:
        _set_time(message, "expires_at", round(verdict.expires_at * 1e6))
    return message


def _wire_role(role: Role) -> pb.AccessRole.ValueType:
    return pb.AccessRole.ValueType(int(role))


def _set_time(message: Message, name: str, at_us: int | None) -> None:
    if at_us is not None:
        getattr(message, name).FromMicroseconds(at_us)


def _micros(message: Message, name: str) -> int | None:
    if not message.HasField(name):
        return None
    moment: Timestamp = getattr(message, name)
    return moment.ToMicroseconds()


def _audit_query(asked: pb.AuditFilter, project: str) -> AuditQuery:
    return AuditQuery(
        project=project,
        actor=asked.actor,
        action=asked.action,
        object=asked.object,
        key_id=asked.key_id,
        result=asked.result,
        since_us=_micros(asked, "since") or 0,
        until_us=_micros(asked, "until") or 0,
    )
