"""The keys as the scheduler knows them, for services in other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from gridloom_services.common.auth import Principal
from gridloom_services.common.errors import StartError, UnavailableError
from gridloom_services.common.ring import Verdict
from gridloom_services.common.roles import EVERYWHERE, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridloom.api.scheduler.v1 import access_pb2

    from gridloom_services.common.channels import Channels
    from gridloom_services.common.keys import KeyProof

_TIMEOUT_S = 2.0


class RemoteKeys:
    """Asks the scheduler, with this service's own token."""

    is_immediate = False

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def verdicts(self, proofs: Sequence[KeyProof]) -> list[Verdict]:
        """In the order asked. UnavailableError where the scheduler does not answer."""
        from gridloom.api.scheduler.v1 import access_pb2, access_pb2_grpc

        request = access_pb2.VerifyKeysRequest(
            proofs=[access_pb2.KeyProof(key_id=each.id, digest=each.digest) for each in proofs]
        )
        try:
            stub = access_pb2_grpc.AccessServiceStub(self._channels.channel("scheduler"))
            answer = await stub.VerifyKeys(
                request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
            )
        except StartError as error:
            raise UnavailableError(f"no API key can be checked here: {error.message}") from error
        except grpc.aio.AioRpcError as error:
            raise UnavailableError(f"the scheduler: {error.details()}") from error
        return [
            verdict_of(each, proof) for each, proof in zip(answer.verdicts, proofs, strict=True)
        ]


def verdict_of(message: access_pb2.KeyVerdict, proof: KeyProof) -> Verdict:
    """The verdict in a message."""
    if not message.owner:
        return Verdict(None, message.refusal)
    expires_at = None
    if message.HasField("expires_at"):
        expires_at = message.expires_at.ToMicroseconds() / 1e6
    return Verdict(
        key_principal(message.owner, message.project, Role(message.role), proof.id),
        expires_at=expires_at,
    )


def key_principal(owner: str, project: str, role: Role, key_id: str) -> Principal:
    """Whoever shows this key."""
    place = Principal(owner, role=role, key_id=key_id, is_everywhere=project == EVERYWHERE)
    if place.is_everywhere:
        return place
    return Principal(owner, project=project, role=role, key_id=key_id)
