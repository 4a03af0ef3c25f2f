"""Names of things: what they look like, how they are made and taken apart.

Jobs and pools get "job_" and "pool_" and 26 characters that grow with time, so that sorting by id
is sorting by age. Calls and groups are counted by the client that makes them:
"call_SESSION_SEQUENCE" and "group_SESSION_NUMBER". One element of an array is "job_x.7".
"""

from __future__ import annotations

import os
import re
import threading
import time

from gridloom.errors import InvalidRequestError

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_PAIR_BITS = 10
_LENGTH = 26
_PAIR_MASK = (1 << _PAIR_BITS) - 1
_SHIFTS = range(5 * (_LENGTH - 2), -1, -_PAIR_BITS)
_RANDOM_BITS = 80
_SESSION_KEY_BYTES = 10

_TIMED = re.compile(rf"(job|pool)_[{_ALPHABET}]{{{_LENGTH}}}")
_ELEMENT = re.compile(rf"(job_[{_ALPHABET}]{{{_LENGTH}}})(?:\.(\d{{1,9}}))?")
_COUNTED = re.compile(r"(call|group)_([a-z2-7]{16})_([1-9]\d{0,18})")


class _Clock:
    """The last number given out; a later one is always greater, also within a millisecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        with self._lock:
            stamp = time.time_ns() // 1_000_000
            if stamp <= self._last >> _RANDOM_BITS:
                self._last += 1 + int.from_bytes(os.urandom(4))
            else:
                self._last = (stamp << _RANDOM_BITS) | int.from_bytes(os.urandom(_RANDOM_BITS // 8))
            return self._last

    def forget(self) -> None:
        """A forked child must not continue its parent's series."""
        self._lock = threading.Lock()
        self._last = 0


_clock = _Clock()
os.register_at_fork(after_in_child=_clock.forget)


def new_id(kind: str) -> str:
    """A new id of this kind ("job", "pool", ...), greater than every one made before here."""
    number = _clock.next()
    # Two digits of five bits at a time: jobs come by the thousand.
    digits = "".join([_PAIRS[number >> shift & _PAIR_MASK] for shift in _SHIFTS])
    return f"{kind}_{digits}"


def kind_of(identifier: str) -> str:
    """What the id names: "job", "pool", "call" or "group". Anything else is refused."""
    for pattern in (_ELEMENT, _TIMED, _COUNTED):
        if isinstance(identifier, str) and pattern.fullmatch(identifier):
            return identifier.split("_", 1)[0]
    raise InvalidRequestError(
        f'"{identifier}" is not an id',
        field="id",
        given=identifier,
        allowed="job_..., call_..., group_..., pool_...",
    )


def element_id(job_id: str, element: int) -> str:
    """The id of one element of an array job."""
    return f"{job_id}.{element}"


def split_job_id(identifier: str) -> tuple[str, int | None]:
    """The job's own id, and the element's number where it names one."""
    found = _ELEMENT.fullmatch(identifier)
    if found is None:
        raise InvalidRequestError(
            f'"{identifier}" is not a job\'s id',
            field="job_id",
            given=identifier,
            allowed="job_... or, for an element of an array, job_....7",
        )
    job, element = found.groups()
    return job, None if element is None else int(element)


def session_name(session_key: bytes) -> str:
    """How ids write the session with this key: 16 characters."""
    import base64

    return base64.b32encode(session_key[:_SESSION_KEY_BYTES]).decode("ascii").lower()


def call_id(session: str, sequence: int) -> str:
    """The id of the call with this sequence number."""
    return f"call_{session}_{sequence}"


def group_id(session: str, number: int) -> str:
    """The id of the group with this number."""
    return f"group_{session}_{number}"


def split_call_id(identifier: str) -> tuple[str, int]:
    """Session and sequence number of a call's id."""
    return _split_counted(identifier, "call")


def split_group_id(identifier: str) -> tuple[str, int]:
    """Session and number of a group's id."""
    return _split_counted(identifier, "group")


def _split_counted(identifier: str, kind: str) -> tuple[str, int]:
    found = _COUNTED.fullmatch(identifier)
    if found is None or found[1] != kind:
        raise InvalidRequestError(
            f'"{identifier}" is not a {kind}\'s id',
            field=f"{kind}_id",
            given=identifier,
            allowed=f"{kind}_SESSION_NUMBER",
        )
    return found[2], int(found[3])
