"""Protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gridloom.api.functions.v1 import call_pb2, functions_pb2_grpc, pool_pb2
from gridloom.api.functions.v1 import functions_pb2 as pb

from gridloom_services.common.auth import current_principal, require_project
from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.functions.call import call_id, group_id, split_stored_id
from gridloom_services.functions.events import Events, Page
from gridloom_services.functions.pools.wire import pool_message, pool_spec
from gridloom_services.functions.stream import serve_session
from gridloom_services.functions.wire import output_message, result_run
from gridloom_services.functions.workers.streams import serve_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    from gridloom_services.functions.desk import Desk
    from gridloom_services.functions.dispatch import Lane
    from gridloom_services.functions.events import Told
    from gridloom_services.functions.pools.pool import Pool
    from gridloom_services.functions.pools.pools import Pools
    from gridloom_services.functions.reading import CallView, Readings
    from gridloom_services.functions.session import Session
    from gridloom_services.functions.store.rows import GroupRow, ResultRow
    from gridloom_services.functions.workers.link import Reception

    Context = grpc.aio.ServicerContext[Any, Any]

_PAGE = 100
_MOST_IDS = 10_000


class FunctionsServicer(functions_pb2_grpc.FunctionsServiceServicer):
    """The functions service as gRPC sees it."""

    def __init__(self, desk: Desk, readings: Readings, pools: Pools, reception: Reception) -> None:
        self._desk = desk
        self._readings = readings
        self._events = Events(desk, readings)
        self._pools = pools
        self._reception = reception

    async def OpenSession(  # type: ignore[override]  # noqa: N802
        self, request_iterator: object, context: Context
    ) -> None:
        """A client's stream; read and written by the context, which costs less than iterators."""
        del request_iterator
        await serve_session(self._desk, context)

    async def ServeCalls(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.ServeCallsRequest], context: Context
    ) -> AsyncIterator[pb.ServeCallsResponse]:
        """A worker's stream."""
        del context
        async for response in serve_stream(self._reception, request_iterator):
            yield response

    # ---- calls and groups

    async def GetCall(  # noqa: N802
        self, request: pb.GetCallRequest, context: Context
    ) -> pb.GetCallResponse:
        """Where it stands."""
        del context
        target = await self._readings.target(request.call_id, "")
        return pb.GetCallResponse(call=_call(await self._readings.call(target)))

    async def GetGroup(  # noqa: N802
        self, request: pb.GetGroupRequest, context: Context
    ) -> pb.GetGroupResponse:
        """Its counts."""
        del context
        target = await self._readings.target("", request.group_id)
        group = await self._readings.group(target)
        message = self._group(target.session, group.row())
        lanes = [one for one in target.session.lanes.values() if one.spec.group == target.group]
        message.running = sum(lane.running for lane in lanes)
        message.blocked = sum(lane.waiting for lane in lanes)
        message.pool_ids.extend(sorted({lane.spec.pool_id for lane in lanes if lane.demand}))
        return pb.GetGroupResponse(group=message)

    async def ListGroups(  # noqa: N802
        self, request: pb.ListGroupsRequest, context: Context
    ) -> pb.ListGroupsResponse:
        """Newest first."""
        del context
        project = require_project(request.project)
        await self._desk.cycle.readable()
        size = min(request.page_size or _PAGE, 1000)
        rows = await self._desk.store.groups(project, _place(request.page_token), size)
        answer = pb.ListGroupsResponse()
        for row in rows:
            session = await self._desk.sessions.numbered(split_stored_id(row.id)[0])
            if session is not None:
                answer.groups.append(self._group(session, row))
        if len(rows) == size:
            answer.next_page_token = f"{rows[-1].created_at!r}:{rows[-1].id}"
        return answer

    async def ReadResults(  # noqa: N802
        self, request: pb.ReadResultsRequest, context: Context
    ) -> AsyncIterator[pb.ReadResultsResponse]:
        """Results for any reader."""
        del context
        target = await self._readings.target(request.call_id, request.group_id)
        pages = self._readings.results(target, request.cursor, follow=request.follow)
        async for rows in pages:
            yield pb.ReadResultsResponse(
                runs=[result_run(row) for row in rows],
                cursor=rows[-1].number,
                group_offsets=[offset for row in rows for offset in _offsets(row)],
            )

    async def ReadOutput(  # noqa: N802
        self, request: pb.ReadOutputRequest, context: Context
    ) -> AsyncIterator[pb.ReadOutputResponse]:
        """What was printed."""
        del context
        target = await self._readings.target(request.call_id, request.group_id)
        name = target.session.name
        async for rows in self._readings.outputs(target, follow=request.follow):
            for _, row in rows:
                yield pb.ReadOutputResponse(
                    output=output_message(row), call_id=call_id(name, split_stored_id(row.call)[1])
                )

    async def ListEvents(  # noqa: N802
        self, request: pb.ListEventsRequest, context: Context
    ) -> pb.ListEventsResponse:
        """Oldest first."""
        del context
        page = Page.of(request.page_token, request.page_size)
        if request.pool_id:
            return _told(await self._events.of_pool(self._own(request.pool_id).id, page))
        target = await self._readings.target(request.call_id, request.group_id)
        if target.call:
            return _told(await self._events.of_call(target, page))
        return _told(await self._events.of_group(target, page))

    async def CancelCalls(  # noqa: N802
        self, request: pb.CancelCallsRequest, context: Context
    ) -> pb.CancelCallsResponse:
        """Answered when what was only waiting has ended, on disk."""
        del context
        if len(request.call_ids) > _MOST_IDS:
            raise InvalidRequestError(
                f"at most {_MOST_IDS:,} calls can be cancelled at once; a group takes any number",
                field="call_ids",
                given=len(request.call_ids),
            )
        cancelled = 0
        if request.group_id:
            cancelled += await self._cancel(request, "", request.group_id)
        for name in request.call_ids:
            cancelled += await self._cancel(request, name, "")
        await self._desk.cycle.readable()
        if self._desk.cycle.trouble is not None:
            raise self._desk.cycle.trouble
        return pb.CancelCallsResponse(cancelled=cancelled)

    async def _cancel(self, request: pb.CancelCallsRequest, call: str, group: str) -> int:
        target = await self._readings.target(call, group)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        endings, session = self._desk.endings, target.session
        running, grace_ms = request.running, request.grace_ms
        if target.call:
            calls = (target.call, 1)
            endings.cancel(session, calls, running=running, grace_ms=grace_ms, done=done.set_result)
        else:
            lanes = [lane for lane in session.lanes.values() if lane.spec.group == target.group]
            endings.cancel_lanes(lanes, running=running, grace_ms=grace_ms, done=done.set_result)
        self._desk.cycle.poke()
        return await done

    async def ListFunctions(  # noqa: N802
        self, request: pb.ListFunctionsRequest, context: Context
    ) -> pb.ListFunctionsResponse:
        """Counts are since the service's start."""
        del context
        project = require_project(request.project)
        await self._desk.cycle.readable()
        functions = await self._desk.store.functions(project)
        lanes: dict[bytes, list[Lane]] = {}
        for session in self._desk.ledger.sessions.values():
            if session.project == project:
                for lane in session.lanes.values():
                    lanes.setdefault(lane.spec.function, []).append(lane)
        answer = pb.ListFunctionsResponse()
        for function in functions:
            own = lanes.get(function.digest, [])
            estimate = self._desk.held.estimate(function.digest)
            answer.functions.add(
                name=function.name,
                digest=function.digest.hex(),
                queued=sum(lane.demand + lane.waiting for lane in own),
                running=sum(lane.running for lane in own),
                succeeded=estimate.succeeded,
                failed=estimate.failed,
                mean_seconds=(estimate.item_us or 0.0) / 1e6,
            )
        return answer

    # ---- pools

    async def CreatePool(  # noqa: N802
        self, request: pb.CreatePoolRequest, context: Context
    ) -> pb.CreatePoolResponse:
        """A pool of one's own."""
        del context
        spec = pool_spec(request.spec, require_project(request.spec.project))
        if request.validate_only:
            await self._pools.validate(spec)
            return pb.CreatePoolResponse()
        pool = await self._pools.create(spec, current_principal().name, request.request_id)
        return pb.CreatePoolResponse(pool=self._pool(pool))

    async def GetPool(  # noqa: N802
        self, request: pb.GetPoolRequest, context: Context
    ) -> pb.GetPoolResponse:
        """How it stands."""
        del context
        return pb.GetPoolResponse(pool=self._pool(self._own(request.pool_id)))

    async def ListPools(  # noqa: N802
        self, request: pb.ListPoolsRequest, context: Context
    ) -> pb.ListPoolsResponse:
        """Newest first."""
        del context
        pools = self._pools.all(require_project(request.project))
        return pb.ListPoolsResponse(pools=[self._pool(pool) for pool in pools])

    async def ResizePool(  # noqa: N802
        self, request: pb.ResizePoolRequest, context: Context
    ) -> pb.ResizePoolResponse:
        """At most so many workers from now on."""
        del context
        pool = self._own(request.pool_id)
        if request.workers < 0:
            raise InvalidRequestError(
                f"a pool cannot have {request.workers} workers",
                field="workers",
                given=request.workers,
                allowed="0 or more",
            )
        message = pool_pb2.PoolSpec.FromString(pool.row.body)
        message.workers = request.workers
        spec = pool_spec(message, pool.row.project)
        return pb.ResizePoolResponse(pool=self._pool(await self._pools.respecify(pool.id, spec)))

    async def ClosePool(  # noqa: N802
        self, request: pb.ClosePoolRequest, context: Context
    ) -> pb.ClosePoolResponse:
        """What waits for it is cancelled; what runs ends first, or at once."""
        del context
        pool = await self._pools.close(self._own(request.pool_id).id)
        if request.cancel_running:
            lanes = list(self._desk.held.pool(pool.id).lanes)
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._desk.endings.cancel_lanes(lanes, running=True, grace_ms=0, done=done.set_result)
            self._desk.cycle.poke()
            await done
        return pb.ClosePoolResponse(pool=self._pool(pool))

    def _group(self, session: Session, row: GroupRow) -> pb.Group:
        attendance = self._readings.attendance
        message = _group(session.name, row)
        message.abandoned = attendance.is_abandoned(session, row)
        message.reason = attendance.reason(session, row)
        return message

    def _own(self, pool_id: str) -> Pool:
        pool = self._pools.get(pool_id)
        require_project(pool.row.project, owner=pool.row.owner)
        return pool

    def _pool(self, pool: Pool) -> Any:
        return pool_message(pool, self._desk.floor.load(pool.id))


def _call(view: CallView) -> pb.Call:
    message = pb.Call(
        id=view.id,
        function=view.function,
        pool_id=view.pool_id,
        group_id=view.group_id,
        state=call_pb2.CallState.ValueType(view.state),
        items=view.items,
        items_done=view.items_done,
        attempt=view.attempt,
        reason=view.reason or view.error_sentence,
    )
    if view.accepted_at is not None:
        message.accepted_at.FromMicroseconds(int(view.accepted_at * 1e6))
    return message


def _group(session: str, row: GroupRow) -> pb.Group:
    message = pb.Group(
        id=group_id(session, split_stored_id(row.id)[1]),
        name=row.name,
        kind=row.kind,
        function=row.function,
        project=row.project,
        accepted=row.accepted,
        succeeded=row.succeeded,
        failed=row.failed,
        cancelled=row.cancelled,
        sealed=row.sealed,
    )
    message.created_at.FromMicroseconds(int(row.created_at * 1e6))
    if row.ended_at is not None:
        message.ended_at.FromMicroseconds(int(row.ended_at * 1e6))
    return message


def _told(page: Told) -> pb.ListEventsResponse:
    answer = pb.ListEventsResponse(next_page_token=page.next_token)
    for each in page.happenings:
        event = answer.events.add(
            id=each.id,
            state=call_pb2.CallState.ValueType(each.state),
            pool_state=pool_pb2.PoolState.ValueType(each.pool_state),
            attempt=each.attempt,
            item=each.item,
            reason=each.reason,
            job_id=each.job_id,
        )
        if each.at is not None:
            event.at.FromMicroseconds(int(each.at * 1e6))
    return answer


def _offsets(row: ResultRow) -> range:
    """Where each call of a run stands in its group: its first item."""
    return range(row.offset, row.offset + row.calls)


def _place(token: str) -> tuple[float, int] | None:
    """Where a page begins."""
    if not token:
        return None
    at, _, group = token.partition(":")
    try:
        return float(at), int(group)
    except ValueError:
        raise InvalidRequestError(
            "the page token is not one that was given out", field="page_token", given=token
        ) from None
