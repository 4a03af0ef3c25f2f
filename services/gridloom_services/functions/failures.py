"""What the service itself answers in place of a value, each with the sentence that users read."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from gridloom_services.functions.call import Failure, Status, call_id

if TYPE_CHECKING:
    from gridloom_services.common.errors import GridloomServiceError
    from gridloom_services.functions.call import Attempts

_ERRORS = "gridloom.errors."

Details = tuple[tuple[str, str], ...]


def cancelled() -> Failure:
    """Somebody cancelled it before it had a result."""
    return Failure(Status.CANCELLED, _ERRORS + "CancelledError", "the call was cancelled")


def pool_closed(reason: str) -> Failure:
    """Its pool was closed while it waited."""
    message = f"the call was cancelled: {reason}"
    return Failure(Status.CANCELLED, _ERRORS + "CancelledError", message)


def of_error(error: GridloomServiceError) -> Failure:
    """A refusal of ours as the answer to a call: the SDK raises what it would for a request."""
    return refused(type(error).__name__, error.message, **error.details)


def worker_died(attempts: Attempts, details: Details) -> Failure:
    """The process it was in ended, more often than it may."""
    known = dict(details)
    message = f"the worker process died in this call{_cause(known)}"
    if attempts.deaths > 1:
        message += f", as {attempts.deaths - 1} more had before"
    return Failure(Status.WORKER_DIED, _ERRORS + "WorkerDiedError", message, details)


def begun_once(session: str, sequence: int) -> Failure:
    """It was declared at-most-once and had begun when the platform stopped."""
    message = (
        f"{call_id(session, sequence)} had begun when the platform stopped; declared at-most-once,"
        " it is not run again, and whether it completed is not known"
    )
    return Failure(Status.WORKER_DIED, _ERRORS + "WorkerDiedError", message)


def out_of_memory(details: Details) -> Failure:
    """The worker was killed because of its memory."""
    known = dict(details)
    peak, limit = (int(known.get(name, "0")) for name in ("peak_bytes", "limit_bytes"))
    message = "the worker process ran out of memory in this call"
    if peak:
        message += f": it had {_mebibytes(peak)}"
    if limit:
        message += (
            f", and its share is {_mebibytes(limit)} (the memory of the function or pool, less what"
            " the pool itself needs): ask for more with memory="
        )
    return Failure(Status.OUT_OF_MEMORY, _ERRORS + "OutOfMemoryError", message, details)


def timed_out(timeout_ms: int, details: Details) -> Failure:
    """The worker was killed because the item ran past its time-out."""
    message = f"the call ran longer than its timeout of {timeout_ms / 1000:g} s"
    return Failure(Status.TIMEOUT, _ERRORS + "TimeLimitError", message, details)


def unknown_dependency(upstream: str) -> Failure:
    """It waits for a call that does not exist, or whose result has gone."""
    message = f"it waits for {upstream}, which does not exist, or whose result is no longer kept"
    return Failure(Status.REFUSED, _ERRORS + "NotFoundError", message)


def refused(error: str, message: str, **details: str) -> Failure:
    """It could not be accepted."""
    return Failure(Status.REFUSED, _ERRORS + error, message, tuple(details.items()))


def _signal_name(number: int) -> str:
    """The name, which people know; real-time signals have none of their own."""
    try:
        return f"{signal.Signals(number).name}, signal {number}"
    except ValueError:
        return f"signal {number}"


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"


def _cause(details: dict[str, str]) -> str:
    if details.get("signal", "0") != "0":
        return f" (killed by {_signal_name(int(details['signal']))})"
    if "exit_code" in details:
        return f" (it exited with code {details['exit_code']})"
    return ""
