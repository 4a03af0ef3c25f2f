"""Durations and points in time as protobuf writes them, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from google.protobuf.message import Message

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def duration_of(seconds: float) -> Duration:
    """To the nanosecond."""
    nanos = round(seconds * 1_000_000_000)
    return Duration(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)


def timestamp_of(moment: datetime) -> Timestamp:
    """A point with a zone."""
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp


def moment_in(message: Message, field: str) -> datetime | None:
    """The point in this field, in UTC; None where it is not set."""
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    return _moment(stamp.seconds, stamp.nanos)


# By hand: jobs come by the thousand, `ToDatetime` takes five times as long, and those that came
# together have the same times.
@lru_cache(maxsize=256)
def _moment(seconds: int, nanos: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def seconds_in(message: Message, field: str) -> float | None:
    """The duration in this field; None where it is not set."""
    if not message.HasField(field):
        return None
    value: Duration = getattr(message, field)
    return value.seconds + value.nanos / 1e9
