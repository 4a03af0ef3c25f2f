"""One client's stream: what it says goes to the intake, what is on disk goes to it.

The reading half is the task of the call itself; the writing half a task beside it. Whoever wants
the stream to end says why by `end`: the client gets that as the status.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import session_pb2

from gridloom_services.common.errors import (
    ConflictError,
    GridloomServiceError,
    InvalidRequestError,
)
from gridloom_services.functions import wire
from gridloom_services.functions.call import stored_id
from gridloom_services.functions.delivery import MESSAGE_BYTES, MESSAGE_CALLS
from gridloom_services.functions.failures import of_error
from gridloom_services.functions.intake import Frame
from gridloom_services.functions.pools.wire import pool_spec
from gridloom_services.functions.store.rows import ResultQuery

if TYPE_CHECKING:
    import grpc

    from gridloom_services.functions.desk import Desk
    from gridloom_services.functions.endings import Items
    from gridloom_services.functions.session import Session
    from gridloom_services.functions.store.rows import ResultRow

    Context = grpc.aio.ServicerContext[
        session_pb2.OpenSessionRequest, session_pb2.OpenSessionResponse
    ]


_BAD_FUNCTIONS = 1000
"""Remembered, so that their calls say what is wrong; of more, the code is just missing."""


class SessionStream:
    """One stream of a session, from its hello to its end."""

    def __init__(self, desk: Desk, session: Session, context: Context) -> None:
        self._desk = desk
        self.session = session
        self._context = context
        self._wake = asyncio.Event()
        self._told = session.acknowledged
        self._estimates: dict[int, float] = {}
        """What the client was last told an item of each specification takes."""
        self._finished = False
        self._reason: GridloomServiceError | None = None
        self._task = asyncio.current_task()

    async def serve(self, first: session_pb2.OpenSessionRequest) -> None:
        """Welcome the client, then serve it until it, or the service, ends the stream."""
        session, desk, hello = self.session, self._desk, first.hello
        session.delivery.attach(min(hello.confirmed, session.delivery.committed), self._wake.set)
        desk.ledger.confirm(session, hello.confirmed)
        desk.ledger.touch(session)
        writer = asyncio.create_task(self._write(), name=f"session {session.name}")
        try:
            await self._take(first)
            await self._read()
            self._finished = True
            self._wake.set()
            await writer
        except asyncio.CancelledError:
            if self._reason is None:
                raise
            raise self._reason from None
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self._leave()

    def end(self, reason: GridloomServiceError) -> None:
        """Have the stream end with this status."""
        if self._reason is None and self._task is not None:
            self._reason = reason
            self._task.cancel()

    def _leave(self) -> None:
        """Unless a newer stream of the session is there already."""
        if self._desk.streams.get(self.session.number) is self:
            del self._desk.streams[self.session.number]
            self.session.delivery.detach()
            self._desk.ledger.touch(self.session)
            self._desk.cycle.poke()

    # ---- reading

    async def _read(self) -> None:
        while True:
            message: session_pb2.OpenSessionRequest | object = await self._context.read()
            if not isinstance(message, session_pb2.OpenSessionRequest):
                return
            await self._take(message)
            self._desk.cycle.poke()
            if self._desk.cycle.is_behind:
                await self._desk.cycle.has_room()

    async def _take(self, message: session_pb2.OpenSessionRequest) -> None:
        """The parts in the order of their numbers."""
        session, intake = self.session, self._desk.intake
        for function in message.functions:
            self._define_function(function)
        if message.groups:
            # Before the specifications, which refer to them.
            await self._define_groups(message)
        for spec in message.specs:
            self._define_spec(spec)
        for frame in message.frames:
            intake.accept(session, await self._frame(frame))
        for seal in message.seals:
            group = await self._desk.sessions.group(session, seal.number)
            if group is not None:
                intake.seal(session, group)
        for cancel in message.cancels:
            self._cancel(cancel)
        if message.confirmed:
            self._desk.ledger.confirm(session, message.confirmed)

    def _define_function(self, message: session_pb2.FunctionDefinition) -> None:
        try:
            self._desk.intake.define_function(wire.function_from(message))
        except InvalidRequestError as error:
            if len(self._desk.bad_functions) < _BAD_FUNCTIONS:
                self._desk.bad_functions[message.digest] = of_error(error)
        else:
            self._desk.bad_functions.pop(message.digest, None)
            self.session.missing.discard(message.digest)

    async def _define_groups(self, message: session_pb2.OpenSessionRequest) -> None:
        for group in message.groups:
            if await self._desk.sessions.group(self.session, group.number) is None:
                self._desk.intake.define_group(self.session, group.number, group.name, group.kind)

    def _define_spec(self, message: session_pb2.CallSpec) -> None:
        session, desk = self.session, self._desk
        bad = desk.bad_functions.get(message.function_digest)
        try:
            if bad is None:
                asked = None if message.pool_id else pool_spec(message.pool, session.project)
                pool_id = desk.floor.place(session, message.pool_id, asked)
                desk.intake.define_spec(session, wire.spec_from(message, pool_id))
                return
        except GridloomServiceError as error:
            bad = of_error(error)
        desk.intake.refuse_spec(session, message.number, bad, message.group)

    async def _frame(self, message: session_pb2.Frame) -> Frame:
        frame = Frame(message.first_sequence, message.spec, list(message.arguments))
        if message.items:
            frame.items = list(message.items)
            if len(frame.items) != len(frame.arguments) or 0 in frame.items:
                raise InvalidRequestError(
                    "a frame of chunks says of each call how many items it has, at least 1",
                    field="frames.items",
                )
        for each in message.dependencies:
            needs = [await self._stored(call) for call in each.calls]
            frame.needs[each.position] = tuple(needs)
        for held in message.objects:
            frame.objects[held.position] = tuple(held.digests)
        return frame

    async def _stored(self, call: session_pb2.CallId) -> int | None:
        """Stored id of a call that is waited for."""
        if not call.session:
            return stored_id(self.session.number, call.sequence)
        project = self.session.project
        number = await self._desk.sessions.number_of(call.session, project)
        return None if number is None else stored_id(number, call.sequence)

    def _cancel(self, message: session_pb2.CallCancel) -> None:
        calls = (message.first_sequence, message.count)
        parts: list[Items] = [(each.first, each.first + each.count) for each in message.ranges]
        for items in parts or [None]:
            self._desk.endings.cancel(
                self.session, calls, items, running=message.running, grace_ms=message.grace_ms
            )

    # ---- writing

    async def _write(self) -> None:
        await self._context.write(session_pb2.OpenSessionResponse(welcome=self._welcome()))
        while True:
            self._wake.clear()
            while (message := await self._message()) is not None:
                await self._context.write(message)
            if self._finished and self._is_flushed:
                return
            await self._wake.wait()

    def _welcome(self) -> session_pb2.Welcome:
        limits = self._desk.limits
        return session_pb2.Welcome(
            protocol=wire.PROTOCOL,
            server_version=limits.version,
            acknowledged=self._told,
            window_calls=limits.window_calls,
            window_bytes=limits.window_bytes,
            inline_limit_bytes=limits.inline_limit_bytes,
            payload_limit_bytes=limits.payload_limit_bytes,
            epoch=self._desk.epoch,
        )

    @property
    def _is_flushed(self) -> bool:
        session = self.session
        return session.acknowledged >= session.accepted and not session.delivery.pending

    async def _message(self) -> session_pb2.OpenSessionResponse | None:
        """What there is to say now; None: nothing, or a newer stream says it."""
        session = self.session
        if self._desk.streams.get(session.number) is not self:
            return None
        delivery = session.delivery
        outputs = delivery.take_outputs()
        rows = await self._read_stored() if delivery.behind else delivery.take()
        if not (rows or outputs or session.missing or session.acknowledged > self._told):
            return None
        message = session_pb2.OpenSessionResponse(
            results=[wire.result_run(row) for row in rows],
            outputs=[wire.output_message(row) for row in outputs],
            missing_functions=session.missing,
        )
        session.missing.clear()
        if session.acknowledged > self._told:
            message.acknowledged = self._told = session.acknowledged
        if rows:
            message.result_number = rows[-1].number
            message.estimates.extend(self._new_estimates())
        return message

    def _new_estimates(self) -> list[session_pb2.SpecEstimate]:
        """What items take, where the client does not know it about right."""
        found = []
        for number, lane in self.session.lanes.items():
            item_us, told = lane.estimate.item_us, self._estimates.get(number, 0.0)
            if item_us is not None and not told * 0.8 <= item_us <= told * 1.25:
                self._estimates[number] = item_us
                found.append(session_pb2.SpecEstimate(spec=number, item_us=item_us))
        return found

    async def _read_stored(self) -> list[ResultRow]:
        """Results that memory does not have."""
        delivery = self.session.delivery
        committed = delivery.committed
        query = ResultQuery(
            self.session.number,
            delivery.sent,
            calls=MESSAGE_CALLS,
            value_bytes=MESSAGE_BYTES,
        )
        rows = await self._desk.store.results(query)
        delivery.was_read(rows, committed)
        return rows


async def serve_session(desk: Desk, context: Context) -> None:
    """Serve one client's stream; a newer stream of the same session ends the older."""
    first: session_pb2.OpenSessionRequest | object = await context.read()
    if not isinstance(first, session_pb2.OpenSessionRequest):
        return
    session = await desk.greet(first.hello if first.HasField("hello") else None)
    older = desk.streams.get(session.number)
    stream = SessionStream(desk, session, context)
    desk.streams[session.number] = stream
    if older is not None:
        older.end(ConflictError("another stream of this session was opened: it goes on there"))
    await stream.serve(first)
