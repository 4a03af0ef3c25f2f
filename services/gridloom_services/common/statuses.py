"""The one table that makes gRPC statuses of our errors, with `google.rpc` details; and back."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import grpc

from gridloom_services.common import errors

if TYPE_CHECKING:
    from google.protobuf.message import Message

DOMAIN = "gridloom"
DETAILS_KEY = "grpc-status-details-bin"

_Code = grpc.StatusCode

# The first class in an error's line of ancestors that stands here decides.
STATUS_OF: dict[type[errors.GridloomServiceError], tuple[grpc.StatusCode, str]] = {
    errors.InvalidRequestError: (_Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    errors.PayloadTooLargeError: (_Code.INVALID_ARGUMENT, "PAYLOAD_TOO_LARGE"),
    errors.NotFoundError: (_Code.NOT_FOUND, "NOT_FOUND"),
    errors.AlreadyExistsError: (_Code.ALREADY_EXISTS, "ALREADY_EXISTS"),
    errors.ConflictError: (_Code.FAILED_PRECONDITION, "CONFLICT"),
    errors.IncompleteError: (_Code.FAILED_PRECONDITION, "INCOMPLETE"),
    errors.PoolBrokenError: (_Code.FAILED_PRECONDITION, "POOL_BROKEN"),
    errors.VersionMismatchError: (_Code.FAILED_PRECONDITION, "VERSION_MISMATCH"),
    errors.UnauthenticatedError: (_Code.UNAUTHENTICATED, "UNAUTHENTICATED"),
    errors.PermissionDeniedError: (_Code.PERMISSION_DENIED, "PERMISSION_DENIED"),
    errors.QuotaExceededError: (_Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
    errors.UnavailableError: (_Code.UNAVAILABLE, "UNAVAILABLE"),
    errors.StorageFullError: (_Code.RESOURCE_EXHAUSTED, "STORAGE_FULL"),
    errors.InternalError: (_Code.INTERNAL, "INTERNAL"),
    # A start error in answer to a call is a defect: nothing else is promised about it.
    errors.GridloomServiceError: (_Code.INTERNAL, "INTERNAL"),
}

_KIND_OF = {reason: kind for kind, (_, reason) in reversed(STATUS_OF.items())}

Metadata = tuple[tuple[str, str | bytes], ...]


def status_of(error: errors.GridloomServiceError) -> tuple[grpc.StatusCode, str]:
    """Code and reason of an error."""
    for kind in type(error).__mro__:
        if kind in STATUS_OF:
            return STATUS_OF[kind]
    raise TypeError(f"{type(error).__name__} is none of ours")


def trailers_of(error: errors.GridloomServiceError) -> Metadata:
    """The trailing metadata: a `google.rpc.Status` with `ErrorInfo`, and `RetryInfo` if known."""
    # Slow to import, and needed only when something is refused.
    from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

    code, reason = status_of(error)
    status = status_pb2.Status(code=code.value[0], message=error.message)
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=error.details)
    ]
    if isinstance(error, errors.UnavailableError):
        hint = error_details_pb2.RetryInfo()
        hint.retry_delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(hint)
    for detail in details:
        status.details.add().Pack(detail)
    return ((DETAILS_KEY, status.SerializeToString()),)


def error_of(error: grpc.aio.AioRpcError) -> errors.GridloomServiceError | None:
    """What another of our services raised, with its words and details; None: it did not speak."""
    from google.rpc import error_details_pb2, status_pb2

    info = error_details_pb2.ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key != DETAILS_KEY:
            continue
        status = status_pb2.Status.FromString(value)
        for detail in status.details:
            if detail.Unpack(info) and info.domain == DOMAIN:
                kind = _KIND_OF.get(info.reason, errors.InternalError)
                return kind(status.message, **info.metadata)
    return None


def refusal_of(error: BaseException) -> errors.GridloomServiceError | None:
    """The error to tell the client; None for what is a defect and must be logged whole."""
    if isinstance(error, errors.GridloomServiceError):
        return error
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return errors.StorageFullError("the platform's disk is full; nothing was accepted")
    return None
