"""Which gangs live, for services in other processes than the scheduler's.

A gang's token is signed, and lasts longer than the gang: whether that runs still, the scheduler
says.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import grpc

from gridloom_services.common.auth import Principal
from gridloom_services.common.errors import StartError, UnavailableError
from gridloom_services.common.ring import Ring, Times, Verdict
from gridloom_services.common.tokens import over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridloom_services.common.channels import Channels
    from gridloom_services.common.tokens import GangTokens

_TIMEOUT_S = 2.0

Gangs = Ring[Principal]
"""Answers for gangs, by what their tokens say."""


def gangs_of(tokens: GangTokens, channels: Channels, fresh_s: float) -> Gangs:
    """Who ended `fresh_s` ago or earlier is known to be over.

    While the scheduler does not answer, who lived when it was asked last lives on: nothing ends
    without it. Who was never asked about waits until it answers.
    """
    return Ring("job's token", LiveGangs(tokens, channels), Times(fresh_s, hold_s=math.inf))


class LiveGangs:
    """Knows it in the scheduler's process, and asks the scheduler elsewhere."""

    def __init__(self, tokens: GangTokens, channels: Channels) -> None:
        self._tokens = tokens
        self._channels = channels

    @property
    def is_immediate(self) -> bool:
        """Known here."""
        return self._tokens.knows_the_living

    async def verdicts(self, gangs: Sequence[Principal]) -> list[Verdict]:
        """In the order asked. UnavailableError where the scheduler does not answer.

        Where nobody has said who the scheduler is, all live.
        """
        if self.is_immediate:
            living = [self._tokens.is_alive(each) for each in gangs]
        else:
            living = await self._asked(gangs)
        return [
            Verdict(gang) if lives else Verdict(None, over(gang))
            for gang, lives in zip(gangs, living, strict=True)
        ]

    async def _asked(self, gangs: Sequence[Principal]) -> list[bool]:
        from gridloom.api.scheduler.v1 import access_pb2, access_pb2_grpc

        request = access_pb2.VerifyKeysRequest(
            gangs=[
                access_pb2.GangProof(job_id=each.job_id, attempt=each.attempt, element=each.element)
                for each in gangs
            ]
        )
        try:
            stub = access_pb2_grpc.AccessServiceStub(self._channels.channel("scheduler"))
            answer = await stub.VerifyKeys(
                request, metadata=self._channels.metadata, timeout=_TIMEOUT_S
            )
        except StartError:
            return [True] * len(gangs)
        except grpc.aio.AioRpcError as error:
            raise UnavailableError(f"the scheduler: {error.details()}") from error
        # An older scheduler says nothing of gangs.
        return [not each.is_over for each in answer.gangs] or [True] * len(gangs)
