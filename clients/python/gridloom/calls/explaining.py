"""Why a call, a group or a pool waits: in the words of the job that is to bring its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import call_pb2, functions_pb2
from gridloom.calls.reading import ask
from gridloom.calls.states import CallState, PoolState
from gridloom.inventory import get_pool
from gridloom.jobs import operations
from gridloom.jobs.info import Explanation
from gridloom.jobs.states import JobState, PendingReason
from gridloom.values import replace

if TYPE_CHECKING:
    from gridloom.inventory import PoolInfo
    from gridloom.operation import Operation

_WAITS_FOR_WORKERS = {JobState.HELD, JobState.QUEUED}


def explain_call(identifier: str) -> Operation[Explanation]:
    """Why a call has no result yet."""
    answer = yield ask("GetCall", functions_pb2.GetCallRequest(call_id=identifier))
    call = answer.call
    state = CallState(call_pb2.CallState.Name(call.state).removeprefix("CALL_STATE_"))
    if state is CallState.BLOCKED:
        reason = call.reason or "it waits for the results of other calls"
        return Explanation(PendingReason.DEPENDENCY, reason)
    if state is not CallState.QUEUED or not call.pool_id:
        return explain_over(identifier, state, call.reason)
    return (yield from explain_pool(call.pool_id))


def explain_over(identifier: str, state: CallState, reason: str) -> Explanation:
    """It does not wait."""
    said = f": {reason}" if reason else ""
    return Explanation(PendingReason.NONE, f"{identifier} is {state}{said}")


def explain_group(identifier: str) -> Operation[Explanation]:
    """Why a group is not over: where nothing of it runs, what its calls wait for."""
    from gridloom.calls.group import get_group, group_info

    group = yield from get_group(identifier)
    info = group_info(group)
    so_far = f"{info.done:,} of {info.accepted:,} items done"
    if info.state.is_final:
        return explain_over(identifier, info.state, info.reason or so_far)
    if group.pool_ids and not group.running:
        found = yield from explain_pool(group.pool_ids[0])
        return replace(found, message=f"{so_far}; {found.message}")
    if group.blocked and not group.running:
        reason = f"{so_far}; {group.blocked:,} wait for the results of other calls"
        return Explanation(PendingReason.DEPENDENCY, reason)
    if info.done == info.accepted:
        return explain_over(identifier, info.state, f"{so_far}; more may be sent")
    return explain_over(identifier, info.state, f"{so_far}, {group.running:,} with workers")


def explain_pool(pool_id: str) -> Operation[Explanation]:
    """Why the calls of a pool wait, where any do."""
    pool = yield from get_pool(pool_id)
    if pool.state in {PoolState.BROKEN, PoolState.CLOSING, PoolState.CLOSED}:
        said = f": {pool.reason}" if pool.reason else ""
        return Explanation(PendingReason.OTHER, f"{pool.id} is {pool.state}{said}")
    if pool.workers and pool.queued_calls and pool.job_id:
        return (yield from _of_growth(pool))
    if pool.workers or not pool.job_id:
        return _of_workers(pool)
    job = yield from operations.get(pool.job_id)
    if job.state not in _WAITS_FOR_WORKERS:
        return Explanation(PendingReason.NEXT_CYCLE, f"the workers of {pool.id} are starting")
    found = yield from operations.explain(job.id)
    return replace(found, message=f"{pool.id} waits for its workers: {found.message}")


def _of_growth(pool: PoolInfo) -> Operation[Explanation]:
    """What calls wait for: the workers that are there, or more of them that find no room."""
    there = _of_workers(pool)
    found = yield from operations.explain(pool.job_id)
    if found.reason is PendingReason.NONE:
        return there
    return replace(found, message=f"{there.message}; more workers have to wait: {found.message}")


def _of_workers(pool: PoolInfo) -> Explanation:
    """What a pool with workers, or without a call so far, waits for."""
    if pool.workers and pool.queued_calls:
        there = f"{pool.workers:,} {'workers' if pool.workers > 1 else 'worker'}"
        waiting = f"{pool.queued_calls:,} {'calls' if pool.queued_calls > 1 else 'call'}"
        message = f"{waiting} of {pool.id} waiting for its {there}, {pool.busy:,} busy"
        return Explanation(
            PendingReason.RESOURCES,
            message,
            resource="workers",
            asked=1,
            ahead_count=pool.queued_calls,
        )
    return Explanation(PendingReason.NONE, f"{pool.id} is {pool.state}; no call waits")
