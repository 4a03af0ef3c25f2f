"""A small functions service: a real gRPC server that can be told to misbehave.

It keeps in memory what the product keeps on disk, runs calls in threads of the test's process, and
does on demand what happens on bad days: breaks streams, withholds acknowledgements and results,
says results twice, gives chunks back in parts.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import inspect
import io
import queue
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Self

import grpc
from gridloom.api.functions.v1 import (
    call_pb2,
    functions_pb2,
    functions_pb2_grpc,
    pool_pb2,
    session_pb2,
)
from gridloom.api.objects.v1 import objects_pb2, objects_pb2_grpc
from gridloom.api.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from gridloom.items import opened
from gridloom.payload import PayloadCodec
from gridloom_services.common.errors import GridloomServiceError, IncompleteError
from gridloom_services.common.statuses import status_of, trailers_of

OK = call_pb2.CALL_STATUS_OK
ERROR = call_pb2.CALL_STATUS_ERROR
CANCELLED = call_pb2.CALL_STATUS_CANCELLED
FAILED_DEPENDENCY = call_pb2.CALL_STATUS_DEPENDENCY_FAILED


@dataclass
class Script:
    """How the service behaves; changed by tests while it runs."""

    # Sequence numbers in each stream's frames after which the stream breaks, one a stream.
    break_after: list[int] = field(default_factory=list)
    acknowledge: bool = True
    twice: bool = False
    # Give a chunk's results back in parts of so many items; 0: whole.
    part: int = 0
    window_calls: int = 0
    refuse: tuple[grpc.StatusCode, str] | None = None
    # Why nothing can be written now.
    trouble: GridloomServiceError | None = None
    forget_functions: bool = False
    # What was sent is all that will come: seals are lost, as with a client that was killed.
    abandon: bool = False


@dataclass
class Kept:
    """A result in the session's store."""

    number: int
    sequence: int
    status: int
    value: bytes
    range: tuple[int, int] | None = None


@dataclass
class Call:
    """One call as it was sent."""

    sequence: int
    spec: session_pb2.CallSpec
    arguments: bytes
    items: int
    needs: list[tuple[str, int]]
    group_offset: int = 0
    results: list[Kept] = field(default_factory=list)
    done: bool = False
    cancelled: bool = False
    begun: bool = False


class Session:
    """What outlives streams."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.last = 0
        self.specs: dict[int, session_pb2.CallSpec] = {}
        self.groups: dict[int, session_pb2.GroupDefinition] = {}
        self.sealed: set[int] = set()
        self.group_items: dict[int, int] = defaultdict(int)
        self.calls: dict[int, Call] = {}
        self.unconfirmed: list[Kept] = []
        self.confirmed = 0
        self.results = 0
        self.out: queue.SimpleQueue | None = None
        self.frames: list[session_pb2.Frame] = []
        self.hellos: list[session_pb2.Hello] = []
        self.printed: list[call_pb2.Output] = []


class ObjectsService(objects_pb2_grpc.ObjectsServiceServicer):
    """Objects in memory."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    def put_bytes(self, data) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.stored[digest] = bytes(data)
        return digest

    def get_bytes(self, digest) -> bytearray:
        return bytearray(self.stored[digest])

    def PutObject(self, request_iterator, context):  # noqa: N802
        ref = next(request_iterator).header.object
        parts = list(request_iterator)
        data = b"".join(part.chunk for part in parts)
        ref.digest = ref.digest or parts[-1].digest
        self.stored[ref.digest] = data
        return objects_pb2.PutObjectResponse(object=ref)

    def GetObject(self, request, context):  # noqa: N802
        data = self.stored[request.digest]
        ref = objects_pb2.ObjectRef(digest=request.digest, size_bytes=len(data))
        yield objects_pb2.GetObjectResponse(object=ref, chunk=data[request.offset :])

    def StatObjects(self, request, context):  # noqa: N802
        found = [
            objects_pb2.ObjectStat(
                object=objects_pb2.ObjectRef(digest=digest), exists=digest in self.stored
            )
            for digest in request.digests
        ]
        return objects_pb2.StatObjectsResponse(objects=found)


class SchedulerService(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Answers the greeting of those who connect."""

    def ListQueues(self, request, context):  # noqa: N802
        return scheduler_pb2.ListQueuesResponse()


class FunctionsService(functions_pb2_grpc.FunctionsServiceServicer):
    """The scripted service. `with FunctionsService() as service: service.address`."""

    def __init__(self, workers: int = 4) -> None:
        self.script = Script()
        self.objects = ObjectsService()
        self.codec = PayloadCodec(self.objects)
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.sessions: dict[str, Session] = {}
        self.functions: dict[bytes, session_pb2.FunctionDefinition] = {}
        self.pools: dict[str, pool_pb2.Pool] = {}
        self.running = threading.Event()
        self.running.set()
        self.runs: list[tuple[str, int]] = []
        self.workers = ThreadPoolExecutor(workers)
        self.server: grpc.Server | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.running.set()
        self.stop()
        self.workers.shutdown(wait=True, cancel_futures=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the port of last time where there was one."""
        self.server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        functions_pb2_grpc.add_FunctionsServiceServicer_to_server(self, self.server)
        objects_pb2_grpc.add_ObjectsServiceServicer_to_server(self.objects, self.server)
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server(SchedulerService(), self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()

    def stop(self) -> None:
        """End every stream and refuse new ones."""
        with self.lock:
            for session in self.sessions.values():
                if session.out is not None:
                    session.out.put(None)
        self.server.stop(grace=0.2).wait()

    def break_stream(self) -> None:
        """End the session's stream; what still comes on it is not heard."""
        session = self.session()
        with self.lock:
            session.out.put(None)
            session.out = queue.SimpleQueue()

    def hold(self) -> None:
        """Begin no more calls until `running.set()`."""
        self.running.clear()

    def session(self) -> Session:
        """The one session that there is, when it is there."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.sessions, 10), "no session was opened"
            (session,) = self.sessions.values()
            return session

    def wait_for(self, condition, timeout=10.0) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout), "the service never saw it"

    # ---- the stream

    def OpenSession(self, request_iterator, context):  # noqa: N802
        if self.script.refuse is not None:
            context.abort(*self.script.refuse)
        self._refuse_in_trouble(context)
        hello = next(request_iterator).hello
        session, out = self._greet(hello)
        limit = self.script.break_after.pop(0) if self.script.break_after else 0
        reader = threading.Thread(
            target=self._read, args=(session, request_iterator, out, limit), daemon=True
        )
        reader.start()
        while (response := out.get()) is not None:
            yield response
            if self.script.twice:
                yield response
        self._refuse_in_trouble(context)
        if limit:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    def _refuse_in_trouble(self, context) -> None:
        if self.script.trouble is not None:
            code, _ = status_of(self.script.trouble)
            context.set_trailing_metadata(trailers_of(self.script.trouble))
            context.abort(code, self.script.trouble.message)

    def _greet(self, hello):
        name = base64.b32encode(hello.session_key[:10]).decode().lower()
        with self.lock:
            session = self.sessions.setdefault(name, Session(name))
            session.hellos.append(hello)
            if session.out is not None:
                session.out.put(None)
            session.out = out = queue.SimpleQueue()
            self._confirm(session, hello.confirmed)
            welcome = session_pb2.Welcome(
                protocol=1, acknowledged=session.last, window_calls=self.script.window_calls
            )
            out.put(session_pb2.OpenSessionResponse(welcome=welcome))
            for kept in session.unconfirmed:
                out.put(_response(kept))
            self.changed.notify_all()
            return session, out

    def _read(self, session, requests, out, limit) -> None:
        try:
            for request in requests:
                with self.changed:
                    if session.out is not out:
                        return
                    self._take(session, request)
                    self.changed.notify_all()
                    if limit and session.frames and session.last >= limit:
                        break
        except grpc.RpcError:
            pass
        out.put(None)

    def _take(self, session, request) -> None:
        for function in request.functions:
            self.functions[function.digest] = function
        for spec in request.specs:
            session.specs[spec.number] = spec
        for group in request.groups:
            session.groups[group.number] = group
        for frame in request.frames:
            session.frames.append(frame)
            self._accept(session, frame)
        if not self.script.abandon:
            session.sealed |= {seal.number for seal in request.seals}
        for cancel in request.cancels:
            self._cancel(session, cancel)
        self._confirm(session, request.confirmed)
        if request.frames and self.script.acknowledge:
            session.out.put(session_pb2.OpenSessionResponse(acknowledged=session.last))

    def acknowledge(self) -> None:
        """Say what is on disk, after the script had it withheld."""
        with self.lock:
            session = self.session()
            session.out.put(session_pb2.OpenSessionResponse(acknowledged=session.last))

    def _accept(self, session, frame) -> None:
        needs = {d.position: d.calls for d in frame.dependencies}
        for position, arguments in enumerate(frame.arguments):
            sequence = frame.first_sequence + position
            if sequence <= session.last:
                continue
            assert sequence == session.last + 1, "a hole in the sequence"
            session.last = sequence
            spec = session.specs[frame.spec]
            items = frame.items[position] if frame.items else 0
            offset = session.group_items[spec.group]
            session.group_items[spec.group] += items or 1
            ids = [(c.session or session.name, c.sequence) for c in needs.get(position, ())]
            call = Call(sequence, spec, arguments, items, ids, offset)
            session.calls[sequence] = call
            self._start_if_ready(session, call)

    # ---- running

    def _start_if_ready(self, session, call) -> None:
        needed = [self.sessions[name].calls[number] for name, number in call.needs]
        if not all(one.done for one in needed) or call.begun or call.done:
            return
        failed = next((one for one in needed if one.results[0].status != OK), None)
        if failed is not None:
            self._finish(session, call, [(FAILED_DEPENDENCY, failed.results[0].value, None)])
            return
        self.workers.submit(self._run, session, call)

    def _run(self, session, call) -> None:
        self.running.wait()
        with self.lock:
            if call.done:
                return
            call.begun = True
            self.runs.append((session.name, call.sequence))
            if self.script.forget_functions and call.spec.function_digest in self.functions:
                self.script.forget_functions = False
                del self.functions[call.spec.function_digest]
            missing = call.spec.function_digest not in self.functions
            inputs = [self._input(name, number) for name, number in call.needs]
        if missing:
            digest = call.spec.function_digest
            session.out.put(session_pb2.OpenSessionResponse(missing_functions=[digest]))
            self.wait_for(lambda: digest in self.functions)
        results = self._results(session, call, inputs)
        with self.lock:
            if not call.done:
                self._finish(session, call, results)

    def _input(self, name, number):
        call = self.sessions[name].calls[number]
        parts = [self.codec.decode(kept.value) for kept in call.results]
        return [value for part in parts for value in part] if call.items else parts[0]

    def _results(self, session, call, inputs):
        code = self.functions[call.spec.function_digest].code
        function, _ = self.codec.decode_function(code)
        arguments = self.codec.decode(call.arguments, lambda number: inputs[number])
        if not call.items:
            return [(*self._call(session, call, function, *arguments), None)]
        return self._chunk(session, call, function, arguments)

    def _chunk(self, session, call, function, packed):
        results = [self._call(session, call, function, *pair) for pair in opened(packed).calls()]
        if all(status == OK for status, _ in results) and not self.script.part:
            values = [self.codec.decode(value) for _, value in results]
            return [(OK, self.codec.encode_values(values).data, None)]
        found = []
        for first in range(0, len(results), self.script.part or 1):
            part = results[first : first + (self.script.part or 1)]
            if all(status == OK for status, _ in part):
                data = self.codec.encode_values(
                    [self.codec.decode(value) for _, value in part]
                ).data
                found.append((OK, data, (first, len(part))))
            else:
                found += [(s, v, (first + n, 1)) for n, (s, v) in enumerate(self._as_lists(part))]
        return found

    def _as_lists(self, results):
        """Values of single items, as a part of one item has them."""
        for status, value in results:
            if status == OK:
                value = self.codec.encode_values([self.codec.decode(value)]).data  # noqa: PLW2901
            yield status, value

    def _call(self, session, call, function, args, kwargs):
        printed = io.StringIO()
        try:
            if call.spec.capture_output:
                with redirect_stdout(printed):
                    value = function(*args, **kwargs)
            else:
                value = function(*args, **kwargs)
            if inspect.iscoroutine(value):
                value = asyncio.run(value)
            return OK, self.codec.encode_value(value).data
        except BaseException as error:  # noqa: BLE001
            return ERROR, _error(error)
        finally:
            if printed.getvalue():
                output = call_pb2.Output(
                    sequence=call.sequence, stream=1, data=printed.getvalue().encode()
                )
                session.printed.append(output)
                session.out.put(session_pb2.OpenSessionResponse(outputs=[output]))

    def _finish(self, session, call, results) -> None:
        with self.changed:
            call.done = True
            for status, value, part in results:
                session.results += 1
                kept = Kept(session.results, call.sequence, status, value, part)
                session.unconfirmed.append(kept)
                call.results.append(kept)
                session.out.put(_response(kept))
            self.changed.notify_all()
            for other in self.sessions.values():
                for waiting in other.calls.values():
                    if (session.name, call.sequence) in waiting.needs:
                        self._start_if_ready(other, waiting)

    def _cancel(self, session, cancel) -> None:
        for sequence in range(cancel.first_sequence, cancel.first_sequence + cancel.count):
            call = session.calls.get(sequence)
            if call is not None and not call.done and (cancel.running or not call.begun):
                call.cancelled = True
                error = call_pb2.CallError(message="cancelled by the client")
                self._finish(session, call, [(CANCELLED, error.SerializeToString(), None)])

    def _confirm(self, session, number) -> None:
        if number:
            assert number <= session.results, "confirmed what was never sent"
            session.confirmed = max(session.confirmed, number)
            session.unconfirmed = [k for k in session.unconfirmed if k.number > number]

    # ---- the rest

    def GetCall(self, request, context):  # noqa: N802
        _, name, number = request.call_id.split("_")
        call = self.sessions[name].calls.get(int(number)) if name in self.sessions else None
        if call is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.call_id} does not exist")
        state = call_pb2.CALL_STATE_QUEUED
        if call.done:
            state = call_pb2.CALL_STATE_SUCCEEDED
        elif call.begun:
            state = call_pb2.CALL_STATE_RUNNING
        return functions_pb2.GetCallResponse(
            call=functions_pb2.Call(id=request.call_id, state=state, items=call.items or 1)
        )

    def GetGroup(self, request, context):  # noqa: N802
        session, number = self._group(request.group_id, context)
        with self.lock:
            calls = [c for c in session.calls.values() if c.spec.group == number]
            results = [(k, c) for c in calls for k in c.results]
            count = lambda k, c: k.range[1] if k.range else (c.items or 1)  # noqa: E731
            group = functions_pb2.Group(
                id=request.group_id,
                name=session.groups[number].name,
                kind=session.groups[number].kind,
                accepted=sum(c.items or 1 for c in calls),
                succeeded=sum(count(k, c) for k, c in results if k.status == OK),
                failed=sum(count(k, c) for k, c in results if k.status not in {OK, CANCELLED}),
                cancelled=sum(count(k, c) for k, c in results if k.status == CANCELLED),
                sealed=number in session.sealed,
                abandoned=self.script.abandon,
                reason="its client went away" if self.script.abandon else "",
            )
        return functions_pb2.GetGroupResponse(group=group)

    def _group(self, group_id, context):
        _, name, number = group_id.split("_")
        session = self.sessions.get(name)
        if session is None or int(number) not in session.groups:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{group_id} does not exist")
        return session, int(number)

    def ReadResults(self, request, context):  # noqa: N802
        if request.call_id:
            _, name, number = request.call_id.split("_")
            session = self.sessions.get(name)
            if session is None or int(number) not in session.calls:
                context.abort(grpc.StatusCode.NOT_FOUND, f"{request.call_id} does not exist")
            wanted = lambda c: c.sequence == int(number)  # noqa: E731
            sealed = lambda: True  # noqa: E731
        else:
            session, group = self._group(request.group_id, context)
            wanted = lambda c: c.spec.group == group  # noqa: E731
            sealed = lambda: group in session.sealed  # noqa: E731
        cursor = request.cursor
        while context.is_active():
            with self.changed:
                calls = [c for c in session.calls.values() if wanted(c)]
                over = sealed() and all(c.done for c in calls)
                kept = sorted(
                    (k.number, k, c) for c in calls for k in c.results if k.number > cursor
                )
                if not kept and not over and request.follow and not self.script.abandon:
                    self.changed.wait(0.05)
                    continue
            for number, one, call in kept:
                cursor = number
                yield functions_pb2.ReadResultsResponse(
                    runs=[_run(one)], cursor=number, group_offsets=[call.group_offset]
                )
            if self.script.abandon and not kept and all(c.done for c in calls):
                error = IncompleteError("its client went away", accepted=len(calls), done=7)
                context.set_trailing_metadata(trailers_of(error))
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, error.message)
            if over or not request.follow:
                return

    def ReadOutput(self, request, context):  # noqa: N802
        session, number = self._group(request.group_id, context)
        for output in session.printed:
            if session.calls[output.sequence].spec.group == number:
                yield functions_pb2.ReadOutputResponse(
                    output=output, call_id=f"call_{session.name}_{output.sequence}"
                )

    def CancelCalls(self, request, context):  # noqa: N802
        count = 0
        with self.lock:
            if request.group_id:
                session, number = self._group(request.group_id, context)
                chosen = [(session, c) for c in session.calls.values() if c.spec.group == number]
            else:
                parts = [one.split("_") for one in request.call_ids]
                chosen = [(self.sessions[n], self.sessions[n].calls[int(s)]) for _, n, s in parts]
            for session, call in chosen:
                before = call.done
                cancel = session_pb2.CallCancel(
                    first_sequence=call.sequence, count=1, running=request.running
                )
                self._cancel(session, cancel)
                count += (call.items or 1) if call.done and not before else 0
        return functions_pb2.CancelCallsResponse(cancelled=count)

    def CreatePool(self, request, context):  # noqa: N802
        identifier = f"pool_{len(self.pools):026d}"
        pool = pool_pb2.Pool(id=identifier, spec=request.spec, state=pool_pb2.POOL_STATE_IDLE)
        self.pools[identifier] = pool
        return functions_pb2.CreatePoolResponse(pool=pool)

    def GetPool(self, request, context):  # noqa: N802
        if request.pool_id not in self.pools:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.pool_id} does not exist")
        return functions_pb2.GetPoolResponse(pool=self.pools[request.pool_id])

    def ResizePool(self, request, context):  # noqa: N802
        self.pools[request.pool_id].spec.workers = request.workers
        return functions_pb2.ResizePoolResponse(pool=self.pools[request.pool_id])

    def ClosePool(self, request, context):  # noqa: N802
        with self.changed:
            self.pools[request.pool_id].state = pool_pb2.POOL_STATE_CLOSED
            self.changed.notify_all()
        return functions_pb2.ClosePoolResponse(pool=self.pools[request.pool_id])


def _error(error) -> bytes:
    import pickle
    import traceback

    text = "".join(traceback.format_exception(error))
    kind = type(error)
    return call_pb2.CallError(
        type=f"{kind.__module__}.{kind.__qualname__}",
        message=str(error),
        traceback=text,
        pickle=pickle.dumps(error),
    ).SerializeToString()


def _run(kept) -> call_pb2.ResultRun:
    run = call_pb2.ResultRun(
        first_sequence=kept.sequence, statuses=bytes([kept.status]), values=[kept.value]
    )
    if kept.range:
        run.ranges.add(first=kept.range[0], count=kept.range[1])
    return run


def _response(kept) -> session_pb2.OpenSessionResponse:
    return session_pb2.OpenSessionResponse(results=[_run(kept)], result_number=kept.number)


if __name__ == "__main__":  # as a program of its own: prints its address, ends with its stdin
    import sys

    with FunctionsService() as running:
        print(running.address, flush=True)
        sys.stdin.read()
