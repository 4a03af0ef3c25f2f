"""What can go wrong, sorted by whose fault it is. gRPC's own errors never leave this package.

`GridloomError` is above everything that Gridloom itself raises. What a user's function raised is
raised as itself, caused by `RemoteTraceback`. `ValueError`, `LookupError` and
`concurrent.futures.CancelledError` are among the bases where a Python user would look for them.
A wait that ends too early raises Python's own `TimeoutError`: that is not a failure of the work.
"""

from __future__ import annotations

import concurrent.futures
import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gridloom.api.functions.v1.call_pb2 import CallError


class GridloomWarning(UserWarning):
    """Something that was asked for has no effect on this platform; everything else has."""


class GridloomError(Exception):
    """Above every error of Gridloom. `details` holds what its kind adds; it survives pickling."""

    def __init__(self, message: str = "", /, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = {name: value for name, value in details.items() if value is not None}

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Callable[..., GridloomError], tuple[object, ...]]:
        return _rebuilt, (type(self), self.message, self.details)

    def _text(self, name: str) -> str:
        return str(self.details.get(name, ""))

    def _whole(self, name: str) -> int | None:
        value = self.details.get(name)
        return int(str(value)) if value not in {None, ""} else None


# ---- the request's fault


class InvalidRequestError(GridloomError, ValueError):
    """The request cannot be done as it was put: which field, what was given, what is allowed."""

    def __init__(
        self,
        message: str = "",
        /,
        *,
        field: str | None = None,
        given: str | None = None,
        allowed: str | None = None,
        **details: object,
    ) -> None:
        super().__init__(message, field=field, given=given, allowed=allowed, **details)

    @property
    def field(self) -> str:
        """The word that is wrong; empty where no single one is."""
        return self._text("field")

    @property
    def given(self) -> str:
        """What was given for it."""
        return self._text("given")

    @property
    def allowed(self) -> str:
        """What may be given instead."""
        return self._text("allowed")


class UnpicklableError(InvalidRequestError):
    """A value cannot travel: `path` leads to its part that cannot ("args[0].model.lock")."""

    @property
    def path(self) -> str:
        """Where the part is."""
        return self._text("path")


class PayloadTooLargeError(InvalidRequestError):
    """An argument or a result is over the platform's limit."""


class NotFoundError(GridloomError, LookupError):
    """It does not exist, or not any more."""


class OutputNotFoundError(NotFoundError, KeyError):
    """The job has brought back no file of this name."""


class ConflictError(GridloomError):
    """It exists already, or its present state does not allow this."""


class PoolBrokenError(ConflictError, concurrent.futures.BrokenExecutor):
    """A pool's workers do not come, or its initialiser fails: it runs nothing any more."""


class IncompleteError(GridloomError):
    """Not all of a map or group was sent before the program that fed it went away.

    It is raised after the results of everything that had arrived. Should that program come back,
    the map goes on, and reading it again gives the rest.
    """

    @property
    def accepted(self) -> int:
        """Items that had arrived..."""
        return self._whole("accepted") or 0

    @property
    def done(self) -> int:
        """... and of these, the ones that have ended."""
        return self._whole("done") or 0


class VersionMismatchError(GridloomError):
    """Client and platform, or client and worker, do not speak the same version."""


# ---- refused


class PermissionDeniedError(GridloomError):
    """The key may not do this; `role` is the one that could."""

    @property
    def role(self) -> str:
        """The role that is missing."""
        return self._text("role")


class UnauthenticatedError(PermissionDeniedError):
    """There is no valid key or token."""


class QuotaExceededError(GridloomError):
    """More was asked than the quota leaves."""

    @property
    def quota(self) -> str:
        """Which quota."""
        return self._text("quota")

    @property
    def used(self) -> str:
        """How much of it is in use."""
        return self._text("used")

    @property
    def asked(self) -> str:
        """How much was asked."""
        return self._text("asked")


# ---- the platform's fault


class UnavailableError(GridloomError):
    """The platform cannot be reached, or does not answer in time. It was retried until then."""


class TlsError(UnavailableError):
    """Client and platform cannot agree on TLS: a certificate, a name, or that it is spoken."""


class NotInstalledError(UnavailableError):
    """A part of Gridloom is not installed here; the message says what to install."""


class StorageFullError(GridloomError):
    """The platform's disk is full: nothing was accepted."""


class PayloadLostError(GridloomError):
    """Arguments or a result that were not durable (`durable=False`) are gone.

    The machine was started anew, or its shared memory was emptied.
    """


class InternalError(GridloomError):
    """A defect of the platform. Its log says more."""


# ---- the work's own end


class JobError(GridloomError):
    """A job or call was accepted and did not succeed. One child a failure class."""

    @property
    def job_id(self) -> str:
        """The job (or element, or call) that failed."""
        return self._text("job_id")

    @property
    def exit_code(self) -> int | None:
        """The exit code that decided the end, where a process had one."""
        return self._whole("exit_code")

    @property
    def signal(self) -> int | None:
        """The signal that ended it; None where it ended by itself."""
        return self._whole("signal") or None

    @property
    def rank(self) -> int | None:
        """The MPI rank that failed first; None where it was none, or nobody knows which."""
        return self._whole("rank")

    @property
    def log_tail(self) -> str:
        """The last lines that it wrote; of MPI ranks that ran too long, where each of them was."""
        return self._text("log_tail")

    def __str__(self) -> str:
        if not self.log_tail:
            return self.message
        lines = "\n".join(f"  | {line}" for line in self.log_tail.rstrip("\n").split("\n"))
        return f"{self.message}\n{lines}"


class JobFailedError(JobError):
    """The command ended with a code other than 0, or by a signal."""


class OutOfMemoryError(JobError):
    """It used more memory than it had asked for."""

    @property
    def peak_bytes(self) -> int | None:
        """How much it used."""
        return self._whole("peak_bytes")

    @property
    def limit_bytes(self) -> int | None:
        """How much it was allowed."""
        return self._whole("limit_bytes")


class TimeLimitError(JobError):
    """It ran longer than its time limit or time-out."""


class NodeLostError(JobError):
    """The machine under it went away, more often than its retries allow."""


class WorkerDiedError(NodeLostError):
    """The worker process died in this call (a segfault, `os._exit`), also when it was run again."""


class PreemptedError(JobError):
    """Work of a higher priority took its place, more often than its retries allow."""


class EvictedError(JobError):
    """Its node threw it out: it used more than it may (disk, say), or was being emptied."""


class UnschedulableError(JobError):
    """The cluster had no room where the plan had seen some, more often than its retries allow."""


class ImageNotFoundError(JobError):
    """Its image or program does not exist."""


class CancelledError(JobError, concurrent.futures.CancelledError):
    """Somebody cancelled it."""


class RemoteError(JobError):
    """A function raised something that cannot be rebuilt here; `type` names its class."""

    @property
    def type(self) -> str:
        """Qualified name of the exception's class."""
        return self._text("type")


class RemoteTraceback(Exception):  # noqa: N818  # the name that users of executors know
    """The cause of a remote exception: where it was raised, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


# ---- from the wire

_BY_REASON: dict[str, type[GridloomError]] = {
    "INVALID_REQUEST": InvalidRequestError,
    "PAYLOAD_TOO_LARGE": PayloadTooLargeError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": ConflictError,
    "CONFLICT": ConflictError,
    "INCOMPLETE": IncompleteError,
    "POOL_BROKEN": PoolBrokenError,
    "VERSION_MISMATCH": VersionMismatchError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "QUOTA_EXCEEDED": QuotaExceededError,
    "UNAVAILABLE": UnavailableError,
    "STORAGE_FULL": StorageFullError,
    "INTERNAL": InternalError,
}

# What a status means where no reason came with it: a proxy, or gRPC itself, has spoken.
_BY_STATUS: dict[str, type[GridloomError]] = {
    "INVALID_ARGUMENT": InvalidRequestError,
    "OUT_OF_RANGE": InvalidRequestError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": ConflictError,
    "FAILED_PRECONDITION": ConflictError,
    "ABORTED": ConflictError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "RESOURCE_EXHAUSTED": QuotaExceededError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": UnavailableError,
    # The other side does not know the method: it is older.
    "UNIMPLEMENTED": VersionMismatchError,
}

_BY_CALL_STATUS: dict[str, type[JobError]] = {
    "CALL_STATUS_TIMEOUT": TimeLimitError,
    "CALL_STATUS_CANCELLED": CancelledError,
    "CALL_STATUS_WORKER_DIED": WorkerDiedError,
    "CALL_STATUS_OUT_OF_MEMORY": OutOfMemoryError,
}


def exception_from_status(
    status: str, message: str, reason: str = "", details: Mapping[str, str] | None = None
) -> GridloomError:
    """The exception for a gRPC status by name and, where there was one, its `ErrorInfo`."""
    kind = _BY_REASON.get(reason) or _BY_STATUS.get(status, InternalError)
    return kind(message, **(details or {}))


def exception_from_call_error(status: int, error: CallError) -> BaseException:
    """What a call raised, as itself and caused by its remote traceback; else ours for `status`."""
    raised = _unpickled(error.pickle) if error.pickle else None
    exception = raised or _named_exception(status, error)
    if error.traceback:
        remote = RemoteTraceback(error.traceback)
        remote.__cause__ = exception.__cause__
        exception.__cause__ = remote
    return exception


def _unpickled(data: bytes) -> BaseException | None:
    try:
        value = pickle.loads(data)  # noqa: S301  # the user's own worker wrote it
    except Exception:  # noqa: BLE001  # whatever the class's own rebuilding raises
        return None
    return value if isinstance(value, BaseException) else None


def _named_exception(status: int, error: CallError) -> GridloomError:
    from gridloom.api.functions.v1 import call_pb2

    details: dict[str, Any] = dict(error.details)
    module, _, name = error.type.rpartition(".")
    ours = globals().get(name) if module == __name__ else None
    if isinstance(ours, type) and issubclass(ours, GridloomError):
        return ours(error.message, **details)
    known = _BY_CALL_STATUS.get(call_pb2.CallStatus.Name(call_pb2.CallStatus.ValueType(status)))
    if known is not None:
        return known(error.message, **details)
    return RemoteError(f"{error.type}: {error.message}", **{**details, "type": error.type})


def _rebuilt(kind: type[GridloomError], message: str, details: dict[str, Any]) -> GridloomError:
    return kind(message, **details)
