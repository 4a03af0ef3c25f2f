"""What the objects service counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.metrics import NO_METRICS

if TYPE_CHECKING:
    from gridloom_services.common.metrics import Counter, Metrics


@dataclass(frozen=True, slots=True)
class Meters:
    """Bytes of objects in and out, and how many went by age."""

    received_bytes: Counter
    sent_bytes: Counter
    removed: Counter


def objects_meters(metrics: Metrics = NO_METRICS) -> Meters:
    """The instruments, by the names that they have in Prometheus."""
    counter = metrics.counter
    return Meters(
        counter("gridloom_objects_received_bytes", "Bytes of objects that were put."),
        counter("gridloom_objects_sent_bytes", "Bytes of objects that were read."),
        counter("gridloom_objects_removed_objects", "Objects that nobody held or used any more."),
    )
