"""Whether we live and are ready (`grpc.health.v1`), and what we speak (reflection)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpc_health.v1 import (  # type: ignore[import-untyped]
    health,
    health_pb2,
    health_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    import grpc

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_REFLECTION = ("grpc.reflection.v1alpha.ServerReflection",)


class Health:
    """The health of the process (the empty name) and of each service in it."""

    def __init__(self) -> None:
        self._servicer = health.aio.HealthServicer()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set(self, names: Iterable[str], *, is_serving: bool) -> None:
        """Say it; watchers are told."""
        for name in names:
            await self._servicer.set(name, _SERVING if is_serving else _NOT_SERVING)

    async def shut_down(self) -> None:
        """Nothing serves any more, whatever is said later."""
        await self._servicer.enter_graceful_shutdown()


class LazyReflection:
    """The reflection service. Its code is loaded by the first question: few ever ask."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = (*names, "grpc.health.v1.Health", *_REFLECTION)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register a handler that knows the method's name only."""
        import grpc

        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self._answer
        )
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    _REFLECTION[0], {"ServerReflectionInfo": handler}
                ),
            )
        )

    async def _answer(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
            reflection,
            reflection_pb2,
        )

        servicer = reflection.aio.ReflectionServicer(self._names)

        async def parsed() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            async for request in requests:
                yield reflection_pb2.ServerReflectionRequest.FromString(request)

        async for response in servicer.ServerReflectionInfo(parsed(), context):
            yield response.SerializeToString()
