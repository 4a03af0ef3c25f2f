"""How an interceptor wraps a call, the same for all four kinds of methods.

An interceptor says in `around` what happens before and after a call; wrapping a unary or streaming
method, written as a coroutine or as an asynchronous generator, is done here once. What an
interceptor costs is paid once a call: messages of a stream pass through `yield` and nothing else.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import grpc
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    Handler = grpc.RpcMethodHandler[Any, Any]
    Behaviour = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Method:
    """What is called."""

    # "/gridloom.api.objects.v1.ObjectsService/PutObject"
    path: str
    has_request_stream: bool
    has_response_stream: bool

    @property
    def service(self) -> str:
        """Full name of the gRPC service."""
        return self.path.split("/")[1]

    @property
    def name(self) -> str:
        """The method's own name."""
        return self.path.rpartition("/")[2]

    @property
    def is_unary(self) -> bool:
        """One request, one response."""
        return not (self.has_request_stream or self.has_response_stream)

    @property
    def kind(self) -> str:
        """As the metrics of gRPC's interceptors name it."""
        if self.has_request_stream:
            return "bidi_stream" if self.has_response_stream else "client_stream"
        return "server_stream" if self.has_response_stream else "unary"


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every call in `around`."""

    def __init__(self) -> None:
        # By path: the handler that was found there, and what was made of it.
        self._known: dict[str, tuple[Handler, Handler]] = {}

    def around(
        self, method: Method, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AbstractAsyncContextManager[None]:
        """Entered before the method's first line, left after its last, with its exception if any.

        It may raise, or abort the call by the context.
        """
        raise NotImplementedError

    def applies_to(self, method: Method) -> bool:
        """Whether calls of this method are wrapped at all. Asked once a method."""
        del method
        return True

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wrap the handler, if there is one; once, since a server finds the same each time."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        path = handler_call_details.method
        found, wrapped = self._known.get(path, (None, handler))
        if found is not handler:
            wrapped = self._handler(path, handler)
            self._known[path] = handler, wrapped
        return wrapped

    def _handler(self, path: str, handler: Handler) -> Handler:
        method = Method(path, handler.request_streaming, handler.response_streaming)
        if not self.applies_to(method):
            return handler
        return _rebuilt(handler, self._wrapped(method, _behaviour(handler)))

    def _wrapped(self, method: Method, behaviour: Behaviour) -> Behaviour:
        async def call(request: Any, context: Any) -> Any:
            async with self.around(method, context):
                return await behaviour(request, context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            async with self.around(method, context):
                async for response in behaviour(request, context):
                    yield response

        return stream if inspect.isasyncgenfunction(behaviour) else call


def _behaviour(handler: Handler) -> Behaviour:
    found: Behaviour | None = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    assert found is not None
    return found


def _rebuilt(handler: Handler, behaviour: Behaviour) -> Handler:
    makers = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    maker = makers[handler.request_streaming, handler.response_streaming]
    return maker(
        behaviour,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
