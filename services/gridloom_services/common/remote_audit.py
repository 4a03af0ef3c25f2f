"""Where the audit log is kept, for services in other processes than the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from gridloom_services.common.errors import StartError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridloom.api.scheduler.v1 import access_pb2

    from gridloom_services.common.audit import AuditEntry
    from gridloom_services.common.channels import Channels

_TIMEOUT_S = 10.0
_SAME = (
    *("id", "service", "action", "actor", "actor_kind", "key_id", "origin", "project"),
    *("objects", "object_count", "result", "detail", "request_id"),
)


class RemoteAudit:
    """Reports to the scheduler, with this service's own token."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """Durable there when it returns. UnavailableError where the scheduler does not answer."""
        from gridloom.api.scheduler.v1 import access_pb2, access_pb2_grpc

        request = access_pb2.ReportAuditEntriesRequest(
            entries=[audit_message(entry) for entry in entries]
        )
        try:
            stub = access_pb2_grpc.AccessServiceStub(self._channels.channel("scheduler"))
            await stub.ReportAuditEntries(
                request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
            )
        except (StartError, grpc.aio.AioRpcError) as error:
            reason = error.message if isinstance(error, StartError) else error.details()
            raise UnavailableError(f"the scheduler takes no audit entries: {reason}") from error


def audit_message(entry: AuditEntry) -> access_pb2.AuditEntry:
    """An entry as a message."""
    from gridloom.api.scheduler.v1 import access_pb2

    message = access_pb2.AuditEntry(**{name: getattr(entry, name) for name in _SAME})
    message.at.FromMicroseconds(entry.at_us)
    return message


def audit_entry(message: access_pb2.AuditEntry) -> AuditEntry:
    """The entry in a message."""
    from gridloom_services.common.audit import AuditEntry

    said = {name: getattr(message, name) for name in _SAME} | {"objects": tuple(message.objects)}
    return AuditEntry(at_us=message.at.ToMicroseconds(), **said)
