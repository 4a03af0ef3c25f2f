"""The values of a call: its names, its specification, how often it may be tried, how it ends."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from enum import IntEnum

from gridloom.values import dataclass

SEQUENCE_BITS = 40
"""A stored id is `session number << 40 | sequence number` (or result number)."""

SEQUENCE_LIMIT = 1 << SEQUENCE_BITS

WORKER_DEATHS = 2
"""Runs after a dead worker, where the caller asked for nothing else: the third death is final."""

_NAME = re.compile(r"[a-z2-7]{16}")
_CALL = re.compile(r"call_([a-z2-7]{16})_([1-9][0-9]{0,12})")
_GROUP = re.compile(r"group_([a-z2-7]{16})_([1-9][0-9]{0,12})")


class Status(IntEnum):
    """How a call, or an item of one, ended. The numbers are those of the protocol.

    GIVEN_BACK is no end: the worker did not begin it and will not.
    """

    GIVEN_BACK = 0
    OK = 1
    ERROR = 2
    TIMEOUT = 3
    CANCELLED = 4
    WORKER_DIED = 5
    OUT_OF_MEMORY = 6
    DEPENDENCY_FAILED = 7
    REFUSED = 8


class CallState(IntEnum):
    """Where a call stands. Not stored: it follows from where the call is found."""

    BLOCKED = 1
    QUEUED = 2
    RUNNING = 3
    SUCCEEDED = 4
    FAILED = 5
    CANCELLED = 6


def state_of(statuses: bytes) -> CallState:
    """State of a call all of whose items have ended with these statuses."""
    if any(status not in {Status.OK, Status.CANCELLED} for status in statuses):
        return CallState.FAILED
    if Status.CANCELLED in statuses:
        return CallState.CANCELLED
    return CallState.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call that did not end by itself has no value: what the client raises."""

    status: Status
    type: str
    message: str
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Retries:
    """How often an item is run again, by what ended the run before; and how long it waits."""

    error: int = 0
    worker_died: int = WORKER_DEATHS
    timeout: int = 0
    out_of_memory: int = 0
    backoff_ms: int = 0
    max_backoff_ms: int = 0


@dataclass(frozen=True, slots=True)
class Attempts:
    """Runs of an item that failed and were, or will be, repeated."""

    errors: int = 0
    deaths: int = 0
    timeouts: int = 0
    out_of_memory: int = 0

    @property
    def number(self) -> int:
        """Of the run that comes next, from 1."""
        return 1 + self.errors + self.deaths + self.timeouts + self.out_of_memory

    def after(self, status: Status) -> Attempts:
        """With one more failed run; a status that is never retried changes nothing."""
        field = _COUNTED.get(status)
        return self if field is None else replace(self, **{field: getattr(self, field) + 1})

    def retry_delay_s(self, retries: Retries, status: Status) -> float | None:
        """Seconds until the next run, given that `status` is already counted; None: it is final.

        Doubled with each run, up to the largest back-off asked for.
        """
        field = _COUNTED.get(status)
        if field is None or getattr(self, field) > getattr(retries, _ALLOWED[status]):
            return None
        delay_ms = retries.backoff_ms << min(self.number - 2, 20)
        return min(delay_ms, retries.max_backoff_ms or delay_ms) / 1000


NO_ATTEMPTS = Attempts()

_COUNTED = {
    Status.ERROR: "errors",
    Status.WORKER_DIED: "deaths",
    Status.TIMEOUT: "timeouts",
    Status.OUT_OF_MEMORY: "out_of_memory",
}
_ALLOWED = {
    Status.ERROR: "error",
    Status.WORKER_DIED: "worker_died",
    Status.TIMEOUT: "timeout",
    Status.OUT_OF_MEMORY: "out_of_memory",
}


@dataclass(frozen=True, slots=True)
class CallSpec:
    """What many calls of a session share. `number` is the client's, `group` 0: in no group."""

    number: int
    function: bytes
    pool_id: str
    group: int = 0
    timeout_ms: int = 0
    retries: Retries = Retries()
    capture_output: bool = False
    at_most_once: bool = False
    max_parallel: int = 0
    name: str = ""
    not_durable: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A function as its client sent it. The service never looks inside `code`."""

    digest: bytes
    name: str
    code: bytes
    python: str = ""
    bundle_digest: str = ""
    bundle_bytes: int = 0


def session_name(key: bytes) -> str:
    """Name of the session with this key: what its calls' ids begin with."""
    return base64.b32encode(key[:10]).decode().lower()


def is_session_name(text: str) -> bool:
    """Whether `text` could name a session."""
    return _NAME.fullmatch(text) is not None


def call_id(session: str, sequence: int) -> str:
    """Public id of a call."""
    return f"call_{session}_{sequence}"


def group_id(session: str, number: int) -> str:
    """Public id of a group."""
    return f"group_{session}_{number}"


def split_call_id(text: str) -> tuple[str, int] | None:
    """Session name and sequence number of a call's id, or None when it is not one."""
    match = _CALL.fullmatch(text)
    return (match[1], int(match[2])) if match else None


def split_group_id(text: str) -> tuple[str, int] | None:
    """Session name and number of a group's id, or None when it is not one."""
    match = _GROUP.fullmatch(text)
    return (match[1], int(match[2])) if match else None


def stored_id(session: int, number: int) -> int:
    """The number under which the store keeps a call (or result) of a session."""
    return session << SEQUENCE_BITS | number


def split_stored_id(stored: int) -> tuple[int, int]:
    """Session number and sequence (or result) number of a stored id."""
    return stored >> SEQUENCE_BITS, stored & (SEQUENCE_LIMIT - 1)
