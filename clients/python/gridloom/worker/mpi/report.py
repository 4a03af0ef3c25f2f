"""What became of the ranks, as it travels: one line of JSON, and then the ranks' own bytes."""

from __future__ import annotations

import json
from typing import NamedTuple

from gridloom.worker.mpi.names import ERROR


class Answer(NamedTuple):
    """One rank's; the kind is a word of `names`."""

    rank: int
    kind: str
    data: bytes = b""


class Failure(NamedTuple):
    """Why it failed. `rank` is -1 where it was no rank; `stacks` say where each rank was."""

    reason: str
    rank: int = -1
    exit_code: int = 1
    signal: int = 0
    is_timeout: bool = False
    stacks: dict[str, str] = {}  # noqa: RUF012  # never changed
    # A host of the ranks does not answer any more.
    is_node_lost: bool = False

    @property
    def kind(self) -> str:
        """Its class, as supervisors are told."""
        if self.is_node_lost:
            return "NODE_LOST"
        return "TIME_LIMIT" if self.is_timeout else "APPLICATION_ERROR"


class Report(NamedTuple):
    """Of one call on all ranks."""

    answers: tuple[Answer, ...]
    failure: Failure | None = None

    @property
    def has_words(self) -> bool:
        """It says more than a log would: what was raised, or where each rank was."""
        has_stacks = self.failure is not None and bool(self.failure.stacks)
        return has_stacks or any(each.kind == ERROR for each in self.answers)

    def encoded(self) -> bytes:
        """As it travels."""
        head = {
            "answers": [(each.rank, each.kind, len(each.data)) for each in self.answers],
            "failure": self.failure and self.failure._asdict(),
        }
        return b"".join((json.dumps(head).encode(), b"\n", *(each.data for each in self.answers)))


def decoded(data: bytes | bytearray | memoryview) -> Report:
    """Read back what `encoded` gave."""
    view = memoryview(data)
    head_size = bytes(data).index(b"\n") + 1
    head = json.loads(bytes(view[:head_size]))
    answers, at = [], head_size
    for rank, kind, size in head["answers"]:
        answers.append(Answer(rank, kind, bytes(view[at : at + size])))
        at += size
    failure = head["failure"]
    return Report(tuple(answers), Failure(**failure) if failure else None)
