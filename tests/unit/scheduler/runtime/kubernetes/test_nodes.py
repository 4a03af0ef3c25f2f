from __future__ import annotations

from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.nodes import ClusterNodes, keep_node


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def node(status: str = "True") -> dict:
    return keep_node(
        {
            "metadata": {"name": "n1", "uid": "u-n1", "resourceVersion": "1"},
            "spec": {},
            "status": {
                "allocatable": {"cpu": "4"},
                "conditions": [{"type": "Ready", "status": status}],
            },
        }
    )


def pod(uid: str, cpu: str, phase: str = "Running", **metadata: object) -> dict:
    identity = {"name": uid, "uid": uid, "resourceVersion": "1", "namespace": "jobs"}
    container = {"resources": {"requests": {"cpu": cpu}}}
    return {
        "metadata": {**identity, **metadata},
        "spec": {"nodeName": "n1", "containers": [container]},
        "status": {"phase": phase},
    }


def nodes(clock: Clock | None = None) -> ClusterNodes:
    made = ClusterNodes("jobs", (), 30.0, clock or Clock())
    made.saw_node(node())
    return made


def free(of: ClusterNodes) -> int:
    (capacity,) = of.capacity()
    return capacity.capacity["cpu"]


def test_pods_of_others_take_their_room_and_give_it_back():
    there = nodes()
    there.saw_pod(there.keep_pod(pod("a", "1")))
    there.saw_pod(there.keep_pod(pod("b", "500m")))
    assert free(there) == 2500
    there.lost_pod(there.keep_pod(pod("a", "1")))
    assert free(there) == 3500
    there.saw_pod(there.keep_pod(pod("b", "500m", "Succeeded")))
    assert free(there) == 4000


def test_pods_of_daemons_never_leave_and_all_others_may():
    there = nodes()
    owner = {"ownerReferences": [{"kind": "DaemonSet"}]}
    for made in (pod("a", "1", **owner), pod("b", "500m")):
        there.saw_pod(there.keep_pod(made))
    (capacity,) = there.capacity()
    assert (capacity.capacity["cpu"], capacity.at_best) == (2500, {"cpu": 3000})
    there.lost_pod(there.keep_pod(pod("a", "1", **owner)))
    (capacity,) = there.capacity()
    assert (capacity.capacity["cpu"], capacity.at_best) == (3500, {"cpu": 4000})


def test_pods_of_gangs_are_left_to_the_engine():
    there = nodes()
    there.saw_pod(there.keep_pod(pod("a", "1", labels=names.OURS)))
    assert free(there) == 4000


def test_a_node_is_lost_when_it_was_silent_for_long_by_our_own_clock():
    clock = Clock()
    there = nodes(clock)
    assert there.lost_in_s("n1") is None
    there.saw_node(node("Unknown"))
    clock.now += 20
    there.saw_node(node("Unknown"))
    assert there.lost_in_s("n1") == 10.0
    clock.now += 20
    assert there.lost_in_s("n1") == 0.0
    there.saw_node(node())
    assert there.lost_in_s("n1") is None


def test_a_node_that_exists_no_more_is_lost_at_once():
    there = nodes()
    there.lost_node(node())
    assert there.lost_in_s("n1") == 0.0
    assert there.capacity() == ()
