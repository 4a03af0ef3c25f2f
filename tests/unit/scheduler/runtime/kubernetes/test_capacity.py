from __future__ import annotations

import pytest
from gridloom_services.scheduler.runtime.base import NodeCapacity
from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.capacity import (
    is_foreign,
    node_capacity,
    node_of,
    pod_claims,
)
from gridloom_services.scheduler.runtime.kubernetes.flavours import Flavour

READY = {"type": "Ready", "status": "True"}


def node(*conditions: dict, **spec: object) -> dict:
    allocatable = {"cpu": "3900m", "memory": "8Gi", "pods": "110", "nvidia.com/gpu": "2"}
    return {
        "metadata": {"name": "n1", "labels": {"pool": "gpu"}},
        "spec": spec,
        "status": {"conditions": list(conditions or (READY,)), "allocatable": allocatable},
    }


def container(cpu: str, **more: object) -> dict:
    return {"resources": {"requests": {"cpu": cpu}}, **more}


def pod(*containers: dict, init: tuple[dict, ...] = (), **status: object) -> dict:
    return {
        "metadata": {"namespace": "default"},
        "spec": {"nodeName": "n1", "containers": list(containers), "initContainers": list(init)},
        "status": {"phase": "Running", **status},
    }


def test_what_others_have_claimed_is_not_offered_but_may_become_free():
    others = [daemon := {"cpu": 400}, {"cpu": 500, "memory": 1 << 30}]
    assert node_capacity(node(), others, (), [daemon]) == NodeCapacity(
        "n1",
        {"cpu": 3000, "memory": 7 << 30, "nvidia.com/gpu": 2},
        {"pool": "gpu"},
        at_best={"cpu": 3500, "memory": 8 << 30, "nvidia.com/gpu": 2},
    )


def test_a_node_that_is_claimed_beyond_its_size_offers_nothing():
    capacity = node_capacity(node(), [{"cpu": 9000}], ())
    assert capacity is not None
    assert capacity.capacity["cpu"] == 0


def test_a_node_says_which_flavour_it_is():
    capacity = node_capacity(node(), [], (Flavour("a100", {"pool": "gpu"}),))
    assert capacity is not None
    assert capacity.labels["flavour"] == "a100"


@pytest.mark.parametrize(
    "sick",
    [
        node(unschedulable=True),
        node({"type": "Ready", "status": "False"}),
        node({"type": "Ready", "status": "Unknown"}),
        node({"type": "MemoryPressure", "status": "False"}),
        node(taints=[{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]),
    ],
)
def test_a_node_that_is_cordoned_or_not_well_takes_nothing_new(sick):
    capacity = node_capacity(sick, [], ())
    assert capacity is not None
    assert not capacity.schedulable


def test_a_node_of_no_flavour_is_not_offered():
    assert node_capacity(node(), [], (Flavour("cpu", {"pool": "cpu"}),)) is None


def test_a_pod_claims_what_its_containers_ask_for_together():
    assert pod_claims(pod(container("1"), container("500m"))) == {"cpu": 1500}


def test_a_limit_stands_where_nothing_is_requested():
    limited = {"resources": {"limits": {"cpu": "2", "nvidia.com/gpu": "1"}}}
    assert pod_claims(pod(limited)) == {"cpu": 2000, "nvidia.com/gpu": 1}


def test_init_containers_count_where_they_need_more():
    sidecar = container("100m", restartPolicy="Always")
    assert pod_claims(pod(container("1"), init=(sidecar, container("3")))) == {"cpu": 3100}
    assert pod_claims(pod(container("1"), init=(container("3"), sidecar))) == {"cpu": 3000}
    assert pod_claims(pod(container("1"), init=(sidecar,))) == {"cpu": 1100}


def test_overhead_is_added():
    heavy = pod(container("1"))
    heavy["spec"]["overhead"] = {"cpu": "250m"}
    assert pod_claims(heavy) == {"cpu": 1250}


def test_a_pod_that_is_over_or_nowhere_claims_nothing():
    assert node_of(pod(container("1"))) == "n1"
    assert node_of(pod(container("1"), phase="Succeeded")) is None
    waiting = pod(container("1"), phase="Pending")
    del waiting["spec"]["nodeName"]
    assert node_of(waiting) is None


def test_pods_of_another_platform_are_foreign():
    mine = {"metadata": {"namespace": "jobs", "labels": {**names.OURS, "x": "y"}}}
    assert not is_foreign(mine, "jobs")
    assert is_foreign(mine, "other")
    assert is_foreign({"metadata": {"namespace": "jobs"}}, "jobs")
