"""What a sidecar leaves behind when it ends: its container's termination message."""

from __future__ import annotations

import json
from dataclasses import field
from typing import TYPE_CHECKING, Any

from gridloom.values import dataclass

from gridloom_services.scheduler.runtime.base import OutputFile, StoredStream
from gridloom_services.scheduler.states import FailureClass

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """How one replica of a shared process ended, by its own word."""

    exit_code: int
    signal: int
    failure_class: FailureClass
    ended_at: float


@dataclass(frozen=True, slots=True)
class Ending:
    """What the sidecar knows that the kubelet does not.

    `failure_class` and `reason`: why the sidecar ended the command, if it did. `outputs_digest` is
    where the list of outputs is, for a list that is too long for a message. `logs`: where streams
    are stored. `trouble`: what could not be stored.
    """

    failure_class: FailureClass = FailureClass.NONE
    reason: str = ""
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    outputs: tuple[OutputFile, ...] = ()
    outputs_digest: str = ""
    logs: Mapping[str, StoredStream] = field(default_factory=dict)
    trouble: str = ""
    ended: Mapping[int, ReplicaReport] = field(default_factory=dict)


def read_ending(message: str) -> Ending | None:
    """Read a termination message; None where it is none of a sidecar."""
    try:
        record = json.loads(message)
    except ValueError:
        return None
    if not isinstance(record, dict) or "logs" not in record:
        return None
    return Ending(
        failure_class=FailureClass[record.get("class", "NONE")],
        reason=record.get("reason", ""),
        cpu_seconds=record.get("cpu", 0.0),
        peak_memory_bytes=record.get("peak", 0),
        outputs=read_outputs(record.get("outputs", [])),
        outputs_digest=record.get("outputs_digest", ""),
        logs={name: StoredStream(*each) for name, each in record["logs"].items()},
        trouble=record.get("trouble", ""),
        ended={int(index): _replica(*each) for index, each in record.get("ended", {}).items()},
    )


def read_outputs(record: list[list[Any]]) -> tuple[OutputFile, ...]:
    """Read a list of outputs as sidecars write it."""
    return tuple(OutputFile(*each) for each in record)


def _replica(exit_code: int, signal: int, failure: str, ended_at: float) -> ReplicaReport:
    return ReplicaReport(exit_code, signal, FailureClass[failure], ended_at)
