"""Python functions in a scaling study: calls on a pool of as many workers as the width says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gridloom.calls.function import Function
from gridloom.calls.options import POOL_WORDS
from gridloom.calls.signature import PlannedCall
from gridloom.calls.workflow import submit_plan
from gridloom.errors import InvalidRequestError, PoolBrokenError
from gridloom.inventory import close_pool, list_pools
from gridloom.jobs import operations
from gridloom.options import check_options
from gridloom.studies.ready import ready
from gridloom.studies.stretch import Stretch, cores_of
from gridloom.studies.texts import same_everywhere

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridloom.calls.pool import Pool
    from gridloom.calls.signature import Plan, Workflow
    from gridloom.client import Client
    from gridloom.studies.study import Run
    from gridloom.studies.work import Turn

_LOOK_EVERY_S = 0.02
# A worker stays so long in its first call that the others get theirs.
_STAY_S = 0.05
_MOST_ROUNDS = 40
_OF_A_RUN = {"workers", "min_workers", "name"}
# What of a pool's words says whether there is room for it, and stands for what it runs.
_OF_A_JOB = {"cpus", "memory", "gpus", "gpu_flavor", "resources", "queue", "project"}
_NOTHING = ["/bin/true"]


class Workers:
    """Calls of functions: timed from their submission to the last result, on workers all ready.

    A worker is ready when it has opened every function, with the modules that it imports. Each run
    has a pool of its own. One that was interrupted is made again, and its pool is closed before.
    """

    unit = "workers"

    def __init__(self, workflow: Workflow, options: Mapping[str, Any]) -> None:
        check_options(options, POOL_WORDS - _OF_A_RUN)
        self._workflow = workflow
        calls = workflow.plan().calls
        if len(calls) <= 1:
            raise InvalidRequestError(
                f"{workflow!r:.100} is {len(calls) or 'no'} call: workers have nothing to share",
                field="spec",
                given=f"{workflow!r:.100}",
                allowed="several calls, such as gridloom.group(fit.s(c) for c in cs)",
            )
        self._options = options
        names = dict.fromkeys(call.function.name for call in calls)
        self.title = f"{len(calls)} calls of {', '.join(names)}"

    def text(self, width: int) -> str:
        """The calls with all that they are given."""
        del width
        return same_everywhere(repr(self._workflow))

    def check(self, client: Client, width: int) -> None:
        """By the platform itself, which looks at a job of this size and takes none."""
        words: dict[str, Any] = {
            word: value for word, value in self._options.items() if word in _OF_A_JOB
        }
        client.run(_NOTHING, replicas=width, validate_only=True, **words)

    def run(self, client: Client, turn: Turn) -> Run:
        """On a pool that has all its workers before the first call."""
        _close_leftovers(client, turn)
        name = f"{turn.study}-{turn.width}"
        options: dict[str, Any] = {
            **self._options,
            "workers": turn.width,
            "min_workers": turn.width,
            "name": name,
            "labels": {**self._options.get("labels", {}), **turn.labels, "turn": turn.request_id},
        }
        with client.pool(**options) as pool:
            places = _all_ready(pool, self._workflow.plan(), turn.width)
            job = client.job(pool.info.job_id).info
            ready_at, begun = time.time(), time.perf_counter()
            submit_plan(_on(pool, self._workflow.plan()), self._workflow.word).result()
            seconds = time.perf_counter() - begun
        # Its workers are to be gone when the next run begins.
        client.connection.run(operations.wait([job.id], None))
        hosts = len({place["host"] for place in places})
        stretch = Stretch(ready_at, seconds, cores_of(places), hosts)
        each = max(1, int(float(self._options.get("cpus", 1))))
        return stretch.run(turn, job, turn.width * each)


def _on(pool: Pool, plan: Plan) -> Plan:
    """The same calls on the pool."""
    plan.calls = [
        PlannedCall(pool.here(call.function), call.args, call.kwargs, call.needs)
        for call in plan.calls
    ]
    return plan


def _all_ready(pool: Pool, plan: Plan, workers: int) -> Sequence[dict[str, Any]]:
    """Wait for the workers, and until each of them has opened every function; where they are."""
    while pool.info.workers < workers:
        if str(pool.info.state) == "BROKEN":
            raise PoolBrokenError(f"{pool.id} has no workers: {pool.explain()}")
        time.sleep(_LOOK_EVERY_S)
    session = pool.calls.session
    functions = {id(call.function.function): call.function.function for call in plan.calls}
    places: dict[str, dict[str, Any]] = {}
    for function in functions.values():
        session.digest_of(function)  # it has travelled before the clock runs
        places = _opened(pool, Function(ready(function)), workers)
    return list(places.values())


def _opened(pool: Pool, look: Function[..., Any], workers: int) -> dict[str, dict[str, Any]]:
    """By worker; those that a look has not found after many of them open the function later."""
    found: dict[str, dict[str, Any]] = {}
    for _ in range(_MOST_ROUNDS):
        looks = [pool.submit(look, _STAY_S) for _ in range(workers)]
        found |= {place["worker"]: place for place in (each.result() for each in looks)}
        if len(found) >= workers:
            break
    return found


def _close_leftovers(client: Client, turn: Turn) -> None:
    """What an interrupted run of the study has left would share its processors with this one."""
    for pool in client.connection.run(list_pools(client.defaults.project)):
        study, _, width = pool.name.rpartition("-")
        is_ours = study == turn.study and width.isdigit()
        if is_ours and pool.state not in {"CLOSED", "CLOSING", "BROKEN"}:
            client.connection.run(close_pool(pool.id, cancel_running=True))
