"""A platform at the edge: a real gRPC server on a real port that says what a test tells it to say.

It has every method of the services. What a method answers is a script: a list of turns, used
up one a call, the last one for ever. A turn is a message, a list of messages (for a stream), an
`Abort`, or a function of the request that returns one of these.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent import futures
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from gridloom.api.functions.v1 import functions_pb2
from gridloom.api.objects.v1 import objects_pb2
from gridloom.api.scheduler.v1 import access_pb2, scheduler_pb2
from gridloom.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

_SERVICES = (
    scheduler_pb2.DESCRIPTOR.services_by_name["SchedulerService"],
    functions_pb2.DESCRIPTOR.services_by_name["FunctionsService"],
    objects_pb2.DESCRIPTOR.services_by_name["ObjectsService"],
    access_pb2.DESCRIPTOR.services_by_name["AccessService"],
)


@dataclass(frozen=True)
class Abort:
    """Ends a call with a status; with a reason, as the platform's own interceptors would."""

    code: grpc.StatusCode
    message: str = "no"
    reason: str = ""
    details: dict[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    after: tuple[Any, ...] = ()
    """What a stream says before it breaks off."""

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        if not self.reason:
            return ()
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        info = error_details_pb2.ErrorInfo(reason=self.reason, metadata=self.details)
        status.details.add().Pack(info)
        if self.retry_after_s is not None:
            hint = error_details_pb2.RetryInfo()
            hint.retry_delay.FromMilliseconds(round(self.retry_after_s * 1000))
            status.details.add().Pack(hint)
        return (("grpc-status-details-bin", status.SerializeToString()),)


class ScriptedPlatform:
    """The server. `requests[method]` and `metadata[method]` keep what it was asked."""

    def __init__(self, address: str = "127.0.0.1:0") -> None:
        self.requests: defaultdict[str, list[Any]] = defaultdict(list)
        self.metadata: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
        self.released = Event()
        # What a client asks first of all.
        self._scripts: dict[str, list[Any]] = {"ListQueues": [scheduler_pb2.ListQueuesResponse()]}
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), options=(("grpc.so_reuseport", 0),)
        )
        self._server.add_generic_rpc_handlers(tuple(self._handlers(s) for s in _SERVICES))
        port = self._server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.address, token="the-token")

    def script(self, method: str, *turns: Any) -> None:
        self._scripts[method] = list(turns)

    def close(self) -> None:
        self.released.set()
        self._server.stop(0).wait()

    def _handlers(self, service: Any) -> grpc.GenericRpcHandler:
        handlers = {method.name: self._handler(method) for method in service.methods}
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _handler(self, method: Any) -> grpc.RpcMethodHandler:
        kinds = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        speak = self._stream if method.server_streaming else self._unary

        def behave(request: Any, context: grpc.ServicerContext) -> Any:
            asked = list(request) if method.client_streaming else request
            self.requests[method.name].append(asked)
            self.metadata[method.name].append(dict(context.invocation_metadata()))
            return speak(self._turn(method.name, asked, context), context)

        return kinds[method.client_streaming, method.server_streaming](
            behave,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )

    def _turn(self, method: str, asked: Any, context: grpc.ServicerContext) -> Any:
        turns = self._scripts.get(method)
        if not turns:
            context.abort(grpc.StatusCode.INTERNAL, f"the test has no script for {method}")
        turn = turns.pop(0) if len(turns) > 1 else turns[0]
        return turn(asked) if callable(turn) else turn

    def _unary(self, turn: Any, context: grpc.ServicerContext) -> Any:
        if isinstance(turn, Abort):
            _abort(turn, context)
        return turn

    def _stream(self, turn: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        if isinstance(turn, Abort):
            yield from turn.after
            _abort(turn, context)
        try:
            for message in turn:
                if message is None:
                    self._stay(context)
                    return
                yield message
        except GeneratorExit:
            # The caller had left before it was sent the rest.
            self.released.set()
            raise

    def _stay(self, context: grpc.ServicerContext) -> None:
        """Keep a stream open until the test or the caller has had enough."""
        if context.add_callback(self.released.set):
            self.released.wait()
        self.released.set()


def _abort(turn: Abort, context: grpc.ServicerContext) -> None:
    context.set_trailing_metadata(turn.trailers())
    context.abort(turn.code, turn.message)
