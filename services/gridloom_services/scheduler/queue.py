"""A queue: where jobs of a project wait, and what they may use together."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.scheduler.spec import nothing

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PROJECT = "default"
DEFAULT_QUEUE = "default"
WEEK_S = 7 * 24 * 3600
# No limit may be longer, so that the engine's sums of seconds never overflow.
LONGEST_TIME_LIMIT_S = 10 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Queue:
    """A named line of a project.

    `quota` is the largest amount of each resource that its running jobs hold together; a resource
    that is absent has no limit. A closed queue accepts and starts nothing; what runs goes on.
    `priority` is added to that of each of its jobs. `max_time_limit_s` 0: no limit.
    """

    project: str
    name: str
    quota: Mapping[str, int] = field(default_factory=nothing)
    default_time_limit_s: int = WEEK_S
    max_time_limit_s: int = 0
    closed: bool = False
    priority: int = 0
    description: str = ""

    @property
    def key(self) -> str:
        """Its name with its project's, unique on the platform."""
        return f"{self.project}/{self.name}"

    @property
    def longest_s(self) -> int:
        """The longest time limit that a job of it may have."""
        return self.max_time_limit_s or LONGEST_TIME_LIMIT_S


def first_queue() -> Queue:
    """Return the queue that a new platform begins with."""
    return Queue(DEFAULT_PROJECT, DEFAULT_QUEUE, description="made at the first start")
