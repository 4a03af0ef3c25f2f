"""From words to specifications."""

from __future__ import annotations

from datetime import timedelta

import pytest
from gridloom.api.functions.v1 import pool_pb2
from gridloom.calls.options import call_retries, call_spec, checked_options, pool_spec
from gridloom.errors import InvalidRequestError
from gridloom.options import Defaults
from gridloom.retries import Retries

DEFAULTS = Defaults(project="chem", queue="cpu")


def spec_of(**words):
    return call_spec(checked_options(words), b"digest", DEFAULTS, python="/bin/python")


def test_nothing_said_is_one_process_with_one_cpu_in_the_context_s_queue():
    spec = spec_of()
    assert spec.function_digest == b"digest"
    assert spec.pool.concurrency == pool_pb2.CONCURRENCY_PROCESSES
    assert dict(spec.pool.resources) == {"cpu": 1000}
    assert (spec.pool.project, spec.pool.queue) == ("chem", "cpu")
    assert spec.pool.python == "/bin/python"
    assert not spec.HasField("retries")


def test_payloads_are_durable_where_nothing_else_is_said():
    assert [spec_of(durable=each).not_durable for each in (True, False)] == [False, True]
    assert not spec_of().not_durable


def test_words_of_the_workers_describe_the_pool():
    pool = spec_of(
        cpus=0.5,
        memory="2GiB",
        gpus=1,
        queue="big",
        workers=8,
        min_workers=2,
        concurrency="threads",
        slots=4,
        env={"A": 1},
        idle_timeout="2m",
        time_limit=timedelta(hours=1),
    ).pool
    assert dict(pool.resources) == {"cpu": 500, "memory": 2 * 1024**3, "nvidia.com/gpu": 1}
    assert (pool.queue, pool.workers, pool.min_workers, pool.slots) == ("big", 8, 2, 4)
    assert pool.concurrency == pool_pb2.CONCURRENCY_THREADS
    assert dict(pool.env) == {"A": "1"}
    assert (pool.idle_timeout.seconds, pool.time_limit.seconds) == (120, 3600)


def test_a_name_and_labels_are_the_calls_not_the_shared_pool_s():
    spec = spec_of(name="study", labels={"x": 1})
    assert (spec.name, dict(spec.labels)) == ("study", {"x": "1"})
    assert (spec.pool.name, dict(spec.pool.labels)) == ("", {})


def test_a_pool_by_id_replaces_the_description():
    identifier = "pool_" + "0" * 26
    spec = spec_of(pool=identifier, timeout=2)
    assert spec.pool_id == identifier
    assert not spec.HasField("pool")


def test_what_calls_are_given():
    spec = spec_of(timeout="1.5s", max_parallel=3, at_most_once=True, output=True)
    assert (spec.timeout_ms, spec.max_parallel) == (1500, 3)
    assert spec.at_most_once
    assert spec.capture_output


def test_a_number_of_retries_counts_the_function_s_own_errors():
    retries = call_retries(Retries.of(3))
    assert retries.error == 3
    assert not retries.HasField("worker_died")


def test_retries_by_failure_class():
    retries = call_retries(
        Retries(error=1, node_lost=0, time_limit=2, out_of_memory=1, backoff="2s")
    )
    assert (retries.error, retries.timeout, retries.out_of_memory) == (1, 2, 1)
    assert retries.HasField("worker_died")
    assert (retries.worker_died, retries.backoff_ms) == (0, 2000)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"concurrency": "thread"}, 'did you mean "threads"'),
        ({"workers": -1}, "workers"),
        ({"workers": 2, "min_workers": 3}, "min_workers"),
        ({"memory": "lots"}, "memory"),
        ({"cpus": 0}, "cpus"),
        ({"timeout": 0}, "timeout"),
        ({"pool": "job_" + "0" * 26}, "pool cannot be"),
        ({"retries": "often"}, "retries"),
        ({"retries": Retries(preempted=1)}, "preempted"),
        ({"labels": {"a": None}}, "labels"),
        ({"gpu_flavor": "a100"}, "gpus"),
        ({"resources": {"cpu": -4}}, "resources"),
        ({"cpus": float("nan")}, "cpus"),
        ({"concurrency": "processes", "slots": 4}, "raise workers instead"),
        ({"time_limit": "1ms"}, "time_limit"),
        ({"queue": 3}, "queue cannot be 3"),
        ({"env": ["A=1"]}, "env cannot be"),
        ({"pool": 3}, "pool cannot be"),
    ],
)
def test_nonsense_is_refused_by_field_as_soon_as_it_is_said(words, message):
    with pytest.raises(InvalidRequestError, match=message) as caught:
        checked_options(words)
    assert caught.value.field


def test_slots_may_be_said_before_the_model_that_has_them():
    assert checked_options({"slots": 8}) == {"slots": 8}


def test_a_process_has_no_slots():
    with pytest.raises(InvalidRequestError, match="raise workers instead"):
        pool_spec({"slots": 8}, DEFAULTS)


def test_a_pool_of_one_s_own_has_its_name():
    spec = pool_spec({"name": "mine", "labels": {"a": "b"}, "workers": 3}, DEFAULTS)
    assert (spec.name, dict(spec.labels), spec.workers) == ("mine", {"a": "b"}, 3)
