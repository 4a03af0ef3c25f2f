"""gRPC's errors as ours. Serves the synchronous and the asyncio channel, which raise alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from gridloom.errors import (
    GridloomError,
    UnavailableError,
    VersionMismatchError,
    exception_from_status,
)
from gridloom.values import dataclass
from gridloom.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

_DETAILS_KEY = "grpc-status-details-bin"
_SILENCE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a failed call said: as an exception, and whether it makes sense to try again."""

    error: GridloomError
    is_transient: bool = False
    # The platform itself did not speak: it may be gone, or elsewhere by now.
    is_silence: bool = False
    is_deadline: bool = False
    hint_s: float | None = None


def refusal_of(error: Any, address: str) -> Refusal:
    """Read an `RpcError`: what the platform said, else what the silence means."""
    status: grpc.StatusCode = error.code()
    info, hint_s = _spoken_details(error)
    if info is not None:
        reason, details = info
        said = exception_from_status(status.name, error.details() or "", reason, details)
        return Refusal(said, is_transient=isinstance(said, UnavailableError), hint_s=hint_s)
    if status in _SILENCE:
        gone = UnavailableError(f"the platform at {address} cannot be reached: {_plain(error)}")
        return Refusal(gone, is_transient=True, is_silence=True, hint_s=hint_s)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        late = UnavailableError(f"the platform at {address} did not answer in time")
        return Refusal(late, is_deadline=True)
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return Refusal(
            VersionMismatchError(
                f"the platform at {address} does not know this request: it is older than this"
                f" client ({VERSION}), or runs without the service"
            )
        )
    return Refusal(exception_from_status(status.name, error.details() or status.name))


def broken_off(address: str) -> UnavailableError:
    """A stream ended before what was asked for was over: the platform is stopping."""
    return UnavailableError(f"the platform at {address} has ended the stream")


def _spoken_details(error: Any) -> tuple[tuple[str, Mapping[str, str]] | None, float | None]:
    """Reason and metadata of the `ErrorInfo`, and the pause of the `RetryInfo`, if any."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            return _unpacked(value)
    return None, None


def _unpacked(data: bytes) -> tuple[tuple[str, Mapping[str, str]] | None, float | None]:
    from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

    info, hint_s = None, None
    error_info, retry_info = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status_pb2.Status.FromString(data).details:
        if detail.Unpack(error_info):
            info = error_info.reason, dict(error_info.metadata)
        elif detail.Unpack(retry_info):
            hint_s = retry_info.retry_delay.ToTimedelta().total_seconds()
    return info, hint_s


def _plain(error: Any) -> str:
    """The end of gRPC's sentence is what a person wants to know: "Connection refused"."""
    text = str(error.details() or "no answer")
    for known in ("Connection refused", "Connection reset", "Socket closed", "No route to host"):
        if known.lower() in text.lower():
            return known.lower()
    return text.rpartition("last error: ")[2]
