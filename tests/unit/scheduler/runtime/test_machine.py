from __future__ import annotations

import os

from gridloom_services.scheduler.runtime.machine import (
    Claim,
    local_node,
    usable_cpus,
    usable_memory_bytes,
)


def test_a_node_offers_what_this_process_may_use():
    node = local_node("local", Claim())
    assert 0 < usable_cpus() <= 1000 * len(os.sched_getaffinity(0))
    assert node.capacity == {"cpu": usable_cpus(), "memory": usable_memory_bytes()}
    assert not node.oversubscribed
    assert node.labels["os"] == "linux"


def test_fewer_processors_by_affinity_are_fewer_on_offer():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() <= 1000
    finally:
        os.sched_setaffinity(0, before)


def test_a_claim_beyond_the_machine_is_flagged():
    assert local_node("local", Claim(cpus=100_000)).oversubscribed
    assert local_node("local", Claim(memory_bytes=1 << 60)).oversubscribed
    assert not local_node("local", Claim(cpus=0.5, memory_bytes=1 << 20)).oversubscribed


def test_a_claim_may_add_resources_and_labels():
    node = local_node("n1", Claim(cpus=2, resources={"licence": 3}, labels={"zone": "a"}))
    assert (node.name, node.capacity["cpu"], node.capacity["licence"]) == ("n1", 2000, 3)
    assert node.labels["zone"] == "a"
