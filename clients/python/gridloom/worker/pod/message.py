"""What a container of ours leaves behind for the scheduler: a few kilobytes of text."""

from __future__ import annotations

import json
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Outputs = tuple[tuple[str, str, int, int], ...]

# The kubelet cuts a message at 4096 bytes.
MOST_BYTES = 4000
_LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A stream in the object store. From `first` to `end` its middle is missing."""

    digest: str
    first: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Farewell:
    """How a command ended, as far as its sidecar knows; `failure_class` NONE: by itself.

    Each output is (path, digest, size in bytes, mode). `ended`: exit code, signal, class and time
    of replicas that ended before the process that they share.
    """

    failure_class: str = "NONE"
    reason: str = ""
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    outputs: Outputs = ()
    outputs_digest: str = ""
    logs: Mapping[str, StoredStream] = field(default_factory=dict)
    trouble: str = ""
    ended: Mapping[str, tuple[int, int, str, float]] = field(default_factory=dict)

    def with_outputs(self, outputs: Outputs, digest: str = "") -> Farewell:
        """Return it with the outputs, or with where their list is."""
        return replace(self, outputs=outputs, outputs_digest=digest)

    def with_logs(self, logs: Mapping[str, StoredStream]) -> Farewell:
        """Return it with where the streams are."""
        return replace(self, logs=logs)

    def with_trouble(self, trouble: str) -> Farewell:
        """Return it with what could not be stored."""
        return replace(self, trouble=trouble)

    def to_text(self) -> str:
        """Return it as it is written down."""
        record: dict[str, Any] = {
            "class": self.failure_class,
            "reason": self.reason[:_LONGEST_REASON],
            "cpu": round(self.cpu_seconds, 6),
            "peak": self.peak_memory_bytes,
            "outputs": self.outputs,
            "outputs_digest": self.outputs_digest,
            "logs": {name: [s.digest, s.first, s.end] for name, s in self.logs.items()},
            "trouble": self.trouble[:_LONGEST_REASON],
            "ended": self.ended,
        }
        kept = {key: value for key, value in record.items() if value or key == "logs"}
        return json.dumps(kept, separators=(",", ":"))

    def write(self, path: Path) -> None:
        """Leave it where the kubelet looks."""
        path.write_text(self.to_text(), encoding="utf-8")
