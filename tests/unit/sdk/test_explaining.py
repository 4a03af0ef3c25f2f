"""Why calls and pools wait, against a platform that says what a test tells it to say."""

from __future__ import annotations

import pytest
from gridloom.api.functions.v1 import call_pb2, functions_pb2, pool_pb2
from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.calls.explaining import explain_call, explain_pool
from gridloom.jobs.states import PendingReason

from tests.unit.sdk.jobs.examples import JOB, job

CALL = "call_aaaaaaaaaaaaaaaa_1"


def has_call(platform, state: int, **more):
    call = functions_pb2.Call(id=CALL, pool_id="pool_1", state=state, **more)
    platform.script("GetCall", functions_pb2.GetCallResponse(call=call))


def has_pool(platform, **more):
    pool = {"id": "pool_1", "state": pool_pb2.POOL_STATE_RUNNING} | more
    platform.script("GetPool", functions_pb2.GetPoolResponse(pool=pool_pb2.Pool(**pool)))


def test_a_call_waits_for_what_the_job_of_its_workers_waits_for(platform, client):
    has_call(platform, call_pb2.CALL_STATE_QUEUED)
    has_pool(platform, job_id=JOB)
    platform.script("GetJob", pb.GetJobResponse(job=job("QUEUED")))
    answer = pb.ExplainJobResponse(
        reason=pb.PENDING_REASON_RESOURCES, message="2 cpus are taken", resource="cpu", asked=2000
    )
    platform.script("ExplainJob", answer)
    why = client.connection.run(explain_call(CALL))
    assert why.message == "pool_1 waits for its workers: 2 cpus are taken"
    assert (why.reason, why.resource, why.asked) == (PendingReason.RESOURCES, "cpu", 2000)


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        (
            {"workers": 2, "busy": 2, "queued_calls": 3},
            "3 calls of pool_1 waiting for its 2",
        ),
        (
            {"workers": 1, "busy": 1, "queued_calls": 1},
            "1 call of pool_1 waiting for its 1",
        ),
        ({"state": pool_pb2.POOL_STATE_BROKEN, "reason": "no numpy"}, "BROKEN: no numpy"),
        ({"state": pool_pb2.POOL_STATE_IDLE}, "no call waits"),
    ],
)
def test_a_pool_says_what_its_calls_wait_for(platform, client, pool, said):
    has_pool(platform, **pool)
    assert said in str(client.connection.run(explain_pool("pool_1")))


@pytest.mark.parametrize("reason", ["RESOURCES", "NONE"])
def test_a_pool_that_cannot_grow_says_why(platform, client, reason):
    has_pool(platform, job_id=JOB, workers=1, busy=1, queued_calls=2)
    answer = pb.ExplainJobResponse(
        reason=pb.PendingReason.Value(f"PENDING_REASON_{reason}"), message="2 cpus are taken"
    )
    platform.script("ExplainJob", answer)
    why = client.connection.run(explain_pool("pool_1"))
    assert why.message.startswith("2 calls of pool_1 waiting for its 1 worker, 1 busy")
    assert ("; more workers have to wait: 2 cpus are taken" in why.message) is (reason != "NONE")


def test_workers_that_are_starting_are_nothing_to_wait_behind(platform, client):
    has_pool(platform, job_id=JOB)
    platform.script("GetJob", pb.GetJobResponse(job=job("RUNNING")))
    why = client.connection.run(explain_pool("pool_1"))
    assert why.message == "the workers of pool_1 are starting"


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        (call_pb2.CALL_STATE_BLOCKED, PendingReason.DEPENDENCY, "results of other calls"),
        (call_pb2.CALL_STATE_RUNNING, PendingReason.NONE, "is RUNNING"),
    ],
)
def test_a_call_that_waits_for_no_worker_says_so(platform, client, state, reason, said):
    has_call(platform, state)
    why = client.connection.run(explain_call(CALL))
    assert why.reason is reason
    assert said in why.message
