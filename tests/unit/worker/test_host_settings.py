"""What a pool host reads from its environment."""

from __future__ import annotations

import base64

import pytest
from gridloom.api.functions.v1 import pool_pb2
from gridloom.worker.host_settings import HostSettings
from gridloom.worker.replicas import Replicas

MIB = 1024 * 1024


def read(spec=None, **more):
    spec = spec or pool_pb2.PoolSpec()
    environment = {
        "GRIDLOOM_POOL_ID": "pool_x",
        "GRIDLOOM_POOL_SPEC": base64.b64encode(spec.SerializeToString()).decode(),
        "GRIDLOOM_JOB_ID": "job_x",
        "GRIDLOOM_ATTEMPT": "2",
        "GRIDLOOM_NODE": "node-1",
        "GRIDLOOM_WORKDIR": "/work/dir",
    }
    return HostSettings.from_environment(environment | more)


def test_names_carry_job_attempt_and_node():
    settings = read()
    assert settings.host_id == "job_x.a2.node-1.0"
    assert settings.hello(7).hello.worker_id == "job_x.a2.node-1.0"
    assert settings.pool.pool_id == "pool_x"


@pytest.mark.parametrize(
    ("concurrency", "given", "slots"),
    [
        (pool_pb2.CONCURRENCY_UNSPECIFIED, 0, 1),
        (pool_pb2.CONCURRENCY_PROCESSES, 0, 1),
        (pool_pb2.CONCURRENCY_THREADS, 0, 32),
        (pool_pb2.CONCURRENCY_ASYNCIO, 0, 256),
        (pool_pb2.CONCURRENCY_THREADS, 5, 5),
    ],
)
def test_slots_follow_the_concurrency_where_none_are_given(concurrency, given, slots):
    settings = read(pool_pb2.PoolSpec(concurrency=concurrency, slots=given))
    assert settings.pool.slots == slots


def test_without_a_memory_limit_there_is_none():
    assert read().pool.memory_bytes == 0
    limited = pool_pb2.PoolSpec(resources={"memory": 512 * MIB})
    assert read(limited).pool.memory_bytes == 512 * MIB


def test_libraries_get_as_many_threads_as_the_worker_has_processors():
    assert set(read().thread_limits.values()) == {"1"}
    large = pool_pb2.PoolSpec(resources={"cpu": 4500})
    assert set(read(large).thread_limits.values()) == {"4"}
    own = read(large, OMP_NUM_THREADS="16").thread_limits
    assert "OMP_NUM_THREADS" not in own
    assert own["MKL_NUM_THREADS"] == "4"


@pytest.mark.parametrize("missing", ["GRIDLOOM_POOL_ID", "GRIDLOOM_JOB_ID", "GRIDLOOM_ATTEMPT"])
def test_what_is_missing_is_named(missing):
    spec = base64.b64encode(b"").decode()
    environment = {
        "GRIDLOOM_POOL_SPEC": spec,
        "GRIDLOOM_POOL_ID": "p",
        "GRIDLOOM_JOB_ID": "j",
        "GRIDLOOM_ATTEMPT": "1",
    }
    del environment[missing]
    with pytest.raises(KeyError, match=missing):
        HostSettings.from_environment(environment)


def test_replicas_are_those_of_the_start_where_nobody_says_otherwise():
    assert Replicas({}).granted() == {0}
    assert Replicas({"GRIDLOOM_REPLICA_INDEX": "2", "GRIDLOOM_REPLICAS": "3"}).granted() == {
        2,
        3,
        4,
    }


def test_a_replica_that_was_reported_as_over_does_not_come_back(tmp_path):
    (tmp_path / "replicas").write_text("0 1 4\n")
    replicas = Replicas({"GRIDLOOM_REPLICAS_FILE": str(tmp_path / "replicas")})
    assert replicas.granted() == {0, 1, 4}
    replicas.report_ended(1)
    assert replicas.granted() == {0, 4}


def test_where_to_go_is_the_platform_unless_functions_have_an_address_of_their_own():
    pool = read(
        GRIDLOOM_ADDRESS="https://hpc.example.org",
        GRIDLOOM_FUNCTIONS_ADDRESS="http://functions.lab.svc:50051",
        GRIDLOOM_TOKEN="glt1.x",
        GRIDLOOM_TLS_CA_FILE="/etc/gridloom/ca.crt",
    ).pool
    platform, functions = pool.endpoint(), pool.endpoint(pool.functions_address)
    assert (platform.address, platform.tls, platform.ca_file) == (
        "hpc.example.org:443",
        True,
        "/etc/gridloom/ca.crt",
    )
    assert (functions.address, functions.tls, functions.token) == (
        "functions.lab.svc:50051",
        False,
        "glt1.x",
    )
    assert read(GRIDLOOM_ADDRESS="http://front:80").pool.endpoint("").address == "front:80"


def test_two_hosts_of_a_job_on_one_node_are_not_taken_for_one_another():
    assert read(GRIDLOOM_REPLICA_INDEX="1").host_id != read().host_id
