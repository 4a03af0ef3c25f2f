"""A command beside a running replica, over a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.scheduler.v1 import scheduler_pb2

from gridloom_services.common.auth import current_admission
from gridloom_services.common.errors import ConflictError, InvalidRequestError
from gridloom_services.scheduler.access.reach import check_job
from gridloom_services.scheduler.job import ONLY
from gridloom_services.scheduler.runtime.base import GangNotFoundError, LogStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gridloom_services.scheduler.control import Control
    from gridloom_services.scheduler.runtime.base import ExecChunk, Runtime


async def exec_messages(
    control: Control, runtime: Runtime, requests: AsyncIterator[scheduler_pb2.ExecJobRequest]
) -> AsyncIterator[scheduler_pb2.ExecJobResponse]:
    """Run the command of the first message; yield what it prints and, last, its exit code."""
    first = await anext(requests, None)
    if first is None or first.WhichOneof("part") != "start":
        raise InvalidRequestError("the first message of ExecJob is the start", field="start")
    start = first.start
    if not start.command:
        raise InvalidRequestError(
            "a command is missing", field="start.command", allowed="a program"
        )
    gang = await _gang_of(control, start.job_id)
    role = start.role or next(iter(control.core.board.gangs[gang].live.placement)).role
    try:
        async for chunk in runtime.exec(
            gang, role, start.index, tuple(start.command), _stdin(requests)
        ):
            yield _response(chunk)
    except GangNotFoundError as error:
        raise ConflictError(
            f"{start.job_id} has no running replica {role}.{start.index}",
            field="start.index",
            given=f"{role}.{start.index}",
        ) from error


async def _gang_of(control: Control, job_id: str) -> str:
    (target,) = await control.targets([job_id])
    current_admission().objects.append(target.id)
    check_job("ExecJob", target.job)
    element = ONLY if target.element is None else target.element
    gang = control.core.board.units.get((target.job.sequence, element))
    if gang is None:
        what = "; name one of its elements" if target.job.is_array else ""
        raise ConflictError(
            f"{target.id} does not run: it is {target.job.state.name}{what}",
            field="start.job_id",
            given=job_id,
        )
    return gang.live.name


async def _stdin(requests: AsyncIterator[scheduler_pb2.ExecJobRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        part = request.WhichOneof("part")
        if part == "stdin":
            yield request.stdin
        elif part == "stdin_closed":
            return


def _response(chunk: ExecChunk) -> scheduler_pb2.ExecJobResponse:
    if chunk.exit_code is not None:
        return scheduler_pb2.ExecJobResponse(exit_code=chunk.exit_code)
    if chunk.stream is LogStream.STDERR:
        return scheduler_pb2.ExecJobResponse(stderr=chunk.data)
    return scheduler_pb2.ExecJobResponse(stdout=chunk.data)
