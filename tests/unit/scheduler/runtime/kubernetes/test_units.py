from __future__ import annotations

import pytest
from gridloom_services.scheduler.runtime.base import Assignment, Gang, GangRole
from gridloom_services.scheduler.runtime.kubernetes.units import (
    check_placement,
    first_units,
    hosts_text,
    resized,
    units_from_text,
    units_to_text,
)


def gang(*, colocate: bool) -> Gang:
    return Gang("job_a-a1", "job_a", 1, (GangRole("main", (0, 1, 2), ("x",), colocate=colocate),))


def on(*nodes: str) -> tuple[Assignment, ...]:
    return tuple(Assignment("main", index, node) for index, node in enumerate(nodes))


def test_every_replica_has_a_pod_of_its_own():
    units = first_units(gang(colocate=False), on("a", "b", "a"))
    assert [(unit.name, unit.node) for unit in units.values()] == [
        ("main.0", "a"),
        ("main.1", "b"),
        ("main.2", "a"),
    ]


def test_replicas_that_share_have_a_pod_a_node():
    units = first_units(gang(colocate=True), on("a", "b", "a"))
    assert {name: (unit.node, unit.known) for name, unit in units.items()} == {
        "main.0": ("a", (0, 2)),
        "main.1": ("b", (1,)),
    }


def test_growth_of_what_shares_gets_pods_of_its_own():
    made = gang(colocate=True)
    units = first_units(made, on("a"))
    grown = resized(units, made.roles[0], on("a", "a", "a"))
    assert {name: unit.known for name, unit in grown.items()} == {"main.0": (0,), "main.1": (1, 2)}


def test_shrinking_leaves_the_known_and_changes_the_wanted():
    made = gang(colocate=False)
    units = first_units(made, on("a", "a", "a"))
    shrunk = resized(units, made.roles[0], on("a"))
    assert {name: unit.wanted for name, unit in shrunk.items()} == {
        "main.0": (0,),
        "main.1": (),
        "main.2": (),
    }
    assert resized(shrunk, made.roles[0], on("a")) == shrunk


def test_units_are_read_back_as_they_were_written():
    units = first_units(gang(colocate=True), on("a", "b", "a"))
    assert units_from_text(units_to_text(units)) == units


def test_a_placement_on_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="there is no node 'b'"):
        check_placement(gang(colocate=False), on("a", "b"), {"a"})
    with pytest.raises(ValueError, match="no role 'chef'; its roles"):
        check_placement(gang(colocate=False), (Assignment("chef", 0, "a"),), {"a"})


def test_pods_of_replicas_that_share_are_told_of_each_other():
    made = gang(colocate=True)
    units = first_units(made, on("a", "b", "a"))
    assert hosts_text(made, units, "main") == "main-0.job-a-a1@a=0-0,2-2 main-1.job-a-a1@b=1-1"


@pytest.mark.parametrize("colocate", [True, False])
def test_pods_that_share_nothing_are_told_of_no_others(colocate):
    made = gang(colocate=colocate)
    units = first_units(made, on("a", "a", "a"))
    assert hosts_text(made, units, "main") == ""
