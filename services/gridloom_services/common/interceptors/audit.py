"""Every change is written down: who, with which key, from where, on what, and how it ended."""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from gridloom_services.common.audit import AuditEntry, AuditTrail
from gridloom_services.common.auth import admission_or_none
from gridloom_services.common.interceptors.base import CallInterceptor, Method
from gridloom_services.common.permissions import RULES
from gridloom_services.common.statuses import refusal_of, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gridloom_services.common.interceptors.base import Behaviour
    from gridloom_services.common.permissions import Rule

MOST_OBJECTS = 20
_LONGEST_DETAIL = 300
_LONGEST_ORIGIN = 200


class AuditInterceptor(CallInterceptor):
    """Writes down calls of the methods whose rule names an action, refused ones too.

    What services do among themselves follows from a change that was written down where it was
    asked for. A call whose caller nobody knows has changed nothing.
    """

    def __init__(self, trail: AuditTrail) -> None:
        super().__init__()
        self._trail = trail

    def applies_to(self, method: Method) -> bool:
        """Those that change something."""
        rule = RULES.get(method.path)
        return rule is not None and bool(rule.action)

    def _wrapped(self, method: Method, behaviour: Behaviour) -> Behaviour:
        async def call(request: Any, context: Any) -> Any:
            source = _Source.of(context)
            answer, error = None, None
            try:
                answer = await behaviour(request, context)
            except BaseException as raised:
                error = raised
                raise
            finally:
                if not getattr(request, "validate_only", False):
                    self._note(method, source, request, answer, _outcome(error, context))
            return answer

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            source = _Source.of(context)
            error: BaseException | None = None
            try:
                async for response in behaviour(request, context):
                    yield response
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._note(method, source, None, None, _outcome(error, context))

        return stream if inspect.isasyncgenfunction(behaviour) else call

    def _note(
        self, method: Method, source: _Source, request: Any, answer: Any, outcome: tuple[str, str]
    ) -> None:
        admission = admission_or_none()
        if admission is None or admission.caller.kind == "service":
            return
        caller, rule = admission.caller, RULES[method.path]
        objects = [*_objects(rule, request, answer), *admission.objects]
        result, detail = outcome
        self._trail.add(
            AuditEntry(
                id=uuid.uuid4().hex,
                at_us=time.time_ns() // 1000,
                service=method.service.split(".")[2],
                action=rule.action,
                actor=caller.name,
                actor_kind=caller.kind,
                key_id=caller.key_id or caller.job_id,
                origin=source.origin,
                project=admission.project,
                objects=tuple(objects[:MOST_OBJECTS]),
                object_count=len(objects),
                result=result,
                detail=detail,
                request_id=source.request_id,
            )
        )


class _Source(NamedTuple):
    """Who called, and how they name their request.

    It is asked for as a call begins: gRPC ends the process where it is asked for the peer of a call
    that is over, and a stream that its client left is closed at any later time.
    """

    origin: str
    request_id: str

    @classmethod
    def of(cls, context: Any) -> _Source:
        return cls(_origin(context), _metadata(context, "x-request-id"))


def _objects(rule: Rule, request: Any, answer: Any) -> Iterator[str]:
    """The names that request and answer have of what was changed."""
    for message, paths in ((request, rule.asked), (answer, rule.made)):
        if message is not None:
            for path in paths:
                yield from names_at(message, path)


def names_at(message: Any, path: str) -> Iterator[str]:
    """The texts in a field of a message: "job_ids", "queue.name", "jobs.id"."""
    first, _, rest = path.partition(".")
    value = getattr(message, first)
    for each in [value] if isinstance(value, str) or hasattr(value, "DESCRIPTOR") else value:
        if rest:
            yield from names_at(each, rest)
        elif each:
            yield each


def _outcome(error: BaseException | None, context: Any) -> tuple[str, str]:
    """The status, and the sentence of a refusal."""
    if error is None:
        return "OK", ""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.CANCELLED.name, ""
    if isinstance(error, grpc.aio.AbortError):
        code = context.code()
        return getattr(code, "name", str(code)), ""
    known = refusal_of(error)
    if known is None:
        return grpc.StatusCode.INTERNAL.name, ""
    return status_of(known)[0].name, known.message[:_LONGEST_DETAIL]


def _origin(context: Any) -> str:
    """The address of the caller; where a front has passed the call on, what it says of it, too."""
    peer = str(context.peer()).partition(":")[2].rpartition(":")[0]
    peer = peer.replace("%5B", "[").replace("%5D", "]")
    peer = peer or "localhost"  # through a unix socket
    before = _metadata(context, "x-forwarded-for")
    return f"{before} via {peer}"[:_LONGEST_ORIGIN] if before else peer


def _metadata(context: Any, wanted: str) -> str:
    """A text of the caller's: cut to what may be kept."""
    for key, value in context.invocation_metadata() or ():
        if key == wanted and isinstance(value, str) and value.isprintable():
            return value[:128]
    return ""
