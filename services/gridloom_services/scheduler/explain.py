"""Why a job waits, in one code and one sentence."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gridloom.values import dataclass, replace

from gridloom_services.scheduler.clock import SECOND_US, now_us
from gridloom_services.scheduler.eligibility import Wait
from gridloom_services.scheduler.engine.decisions import Reason
from gridloom_services.scheduler.fitness import shown_amount
from gridloom_services.scheduler.job import ONLY
from gridloom_services.scheduler.states import JobState

if TYPE_CHECKING:
    from gridloom_services.scheduler.clock import Clock
    from gridloom_services.scheduler.commands import Target
    from gridloom_services.scheduler.core import Core
    from gridloom_services.scheduler.eligibility import Obstacle
    from gridloom_services.scheduler.engine.decisions import Explanation


class PendingReason(enum.Enum):
    """The codes. The names are those of the API."""

    NONE = "NONE"
    HELD = "HELD"
    DEPENDENCY = "DEPENDENCY"
    START_AFTER = "START_AFTER"
    RETRY_BACKOFF = "RETRY_BACKOFF"
    QUEUE_CLOSED = "QUEUE_CLOSED"
    QUEUE_QUOTA = "QUEUE_QUOTA"
    PROJECT_QUOTA = "PROJECT_QUOTA"
    ARRAY_LIMIT = "ARRAY_LIMIT"
    RESOURCES = "RESOURCES"
    PRIORITY = "PRIORITY"
    NODES_TOO_SMALL = "NODES_TOO_SMALL"
    NEXT_CYCLE = "NEXT_CYCLE"


@dataclass(frozen=True, slots=True)
class Answer:
    """Why it waits. `asked` and `available` are of `resource`, where one is short."""

    reason: PendingReason
    message: str
    resource: str = ""
    asked: int = 0
    available: int = 0
    ahead: tuple[str, ...] = ()
    ahead_count: int = 0
    promised_start_us: int | None = None


_WAITS = {
    Wait.HELD: PendingReason.HELD,
    Wait.DEPENDENCY: PendingReason.DEPENDENCY,
    Wait.START_AFTER: PendingReason.START_AFTER,
    Wait.BACKOFF: PendingReason.RETRY_BACKOFF,
}
_MOST_NAMED = 5
_SPARED = "nodes with devices are kept for those who ask for some"


def explain(core: Core, target: Target, clock: Clock) -> Answer:
    """Return why a job, or an element, has not started."""
    job = core.board.jobs.get(target.job.id)
    if job is None:
        return Answer(PendingReason.NONE, f"{target.id} is over: {target.job.state.name}")
    waiting = core.board.waiting(job, JobState.HELD, JobState.QUEUED)
    element = ONLY if target.element is None else target.element
    if target.element is None and waiting:
        element = waiting[0].first
    state = core.board.state(job, element)
    if not state.is_pending:
        return _of_what_runs(core, target, state, clock)
    obstacle = core.eligibility.obstacle(job, element)
    if obstacle is not None:
        return Answer(_WAITS[obstacle.wait], _obstacle_message(obstacle))
    key, _ = core.eligibility.engine_key(job, element)
    if not core.engine.knows(key):
        return Answer(PendingReason.NEXT_CYCLE, "it will be looked at in the next cycle")
    return _engine_answer(core.engine.explain(key, now_us(clock) // SECOND_US), job.queue_key)


def _of_what_runs(core: Core, target: Target, state: JobState, clock: Clock) -> Answer:
    """Return why it does not grow, where it is to have more replicas."""
    job = target.job
    key, _ = core.eligibility.engine_key(job, ONLY if target.element is None else target.element)
    if not job.spec.array and core.engine.knows(key):
        found = core.engine.explain(key, now_us(clock) // SECOND_US)
        if found.reason.name != PendingReason.NONE.name:
            answer = _engine_answer(found, job.queue_key)
            return replace(answer, message=f"{target.id} runs and is to grow: {answer.message}")
    return Answer(PendingReason.NONE, f"{target.id} does not wait: it is {state.name}")


def _obstacle_message(obstacle: Obstacle) -> str:
    match obstacle.wait:
        case Wait.HELD:
            return "held; it waits for its release"
        case Wait.DEPENDENCY:
            named = ", ".join(obstacle.jobs[:_MOST_NAMED])
            more = len(obstacle.jobs) - _MOST_NAMED
            return f"it waits for {named}" + (f" and {more} more" if more > 0 else "")
        case Wait.START_AFTER:
            return f"not to be started before {shown_time(obstacle.until_us)}"
        case Wait.BACKOFF:
            return f"tried again at {shown_time(obstacle.until_us)}"


def _engine_answer(found: Explanation, queue: str) -> Answer:
    promised_us = None if found.promised_start is None else found.promised_start * SECOND_US
    return Answer(
        reason=PendingReason[found.reason.name],
        message=_engine_message(found, queue),
        resource=found.resource,
        asked=found.asked,
        available=found.available,
        ahead=found.ahead,
        ahead_count=found.ahead_count,
        promised_start_us=promised_us,
    )


def _engine_message(found: Explanation, queue: str) -> str:
    asked = shown_amount(found.resource, found.asked)
    available = shown_amount(found.resource, found.available)
    spared = f" ({_SPARED})" if found.spares_devices else ""
    sentences = {
        Reason.QUEUE_CLOSED: f"queue {queue} is closed",
        Reason.QUEUE_QUOTA: f"the quota of queue {queue} leaves {available}; it asks for {asked}",
        Reason.PROJECT_QUOTA: f"the quota of project {queue.partition('/')[0]} leaves {available};"
        f" it asks for {asked}",
        Reason.ARRAY_LIMIT: "as many of its elements run as the array allows at once",
        Reason.RESOURCES: f"not enough is free: it asks for {asked}, {available} is there{spared}",
        Reason.PRIORITY: "there is room, but a start that was promised to a job ahead needs it",
        Reason.NODES_TOO_SMALL: f"no node here could hold it now: it asks for {asked}, at most"
        f" {available} is there for jobs: others may have taken the rest",
        Reason.NEXT_CYCLE: "it will be planned in the next cycle",
        Reason.NONE: "it does not wait",
    }
    if not found.ahead_count:
        return sentences[found.reason]
    jobs = "job is" if found.ahead_count == 1 else "jobs are"
    return f"{sentences[found.reason]}; {found.ahead_count} {jobs} ahead of it"


def shown_time(moment_us: int) -> str:
    """Return a point in time as people write it, in UTC."""
    return datetime.fromtimestamp(moment_us / SECOND_US, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
