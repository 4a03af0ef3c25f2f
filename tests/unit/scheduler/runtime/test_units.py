from __future__ import annotations

from pathlib import Path

import pytest
from gridloom_services.scheduler.runtime.base import Assignment, Gang, GangRole
from gridloom_services.scheduler.runtime.units import (
    Limits,
    Unit,
    check_placement,
    first_units,
    resized,
    unit_spec,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support.runtimes import everywhere, gang, some

FOLDER = Path("/gangs/job_a-a1/main.0")


def never_over(_name: str) -> bool:
    return False


def test_each_replica_is_a_unit_of_its_own():
    made = gang("x", replicas=2)
    units = first_units(made, everywhere(made))
    assert units == {
        "main.0": Unit("main", "local", colocated=False, known=(0,), wanted=(0,)),
        "main.1": Unit("main", "local", colocated=False, known=(1,), wanted=(1,)),
    }


def test_replicas_of_a_colocated_role_are_one_unit_named_after_the_lowest():
    made = gang("x", replicas=3, colocate=True)
    units = first_units(made, some(2, 1))
    assert units == {"main.1": Unit("main", "local", colocated=True, known=(1, 2), wanted=(1, 2))}


def test_only_what_is_placed_is_there():
    made = gang("x", replicas=3)
    assert list(first_units(made, some(0))) == ["main.0"]


def test_growth_of_a_plain_role_adds_units():
    made = gang("x")
    units = resized(first_units(made, some(0)), made.roles[0], some(0, 5), never_over)
    assert {name: unit.wanted for name, unit in units.items()} == {"main.0": (0,), "main.5": (5,)}


def test_shrinking_leaves_the_unit_and_wants_nothing_of_it():
    made = gang("x", replicas=2)
    units = resized(first_units(made, everywhere(made)), made.roles[0], some(1), never_over)
    assert (units["main.0"].known, units["main.0"].wanted) == ((0,), ())
    assert units["main.1"].wanted == (1,)


def test_growth_of_a_colocated_role_joins_the_process():
    made = gang("x", colocate=True)
    units = resized(first_units(made, some(0)), made.roles[0], some(0, 1, 2), never_over)
    assert list(units) == ["main.0"]
    assert (units["main.0"].known, units["main.0"].wanted) == ((0, 1, 2), (0, 1, 2))


def test_growth_after_the_process_is_over_makes_another():
    made = gang("x", colocate=True)
    units = resized(first_units(made, some(0)), made.roles[0], some(1, 2), lambda _: True)
    assert {name: unit.wanted for name, unit in units.items()} == {"main.0": (), "main.1": (1, 2)}


def test_other_roles_are_left_alone():
    roles = (GangRole("main", (0,), ("x",)), GangRole("other", (0,), ("y",)))
    made = Gang("job_a-a1", "job_a", 1, roles)
    units = resized(first_units(made, everywhere(made)), roles[0], some(), never_over)
    assert units["main.0"].wanted == ()
    assert units["other.0"].wanted == (0,)


WANTED = st.lists(st.sets(st.integers(0, 6)), max_size=8)


@given(colocate=st.booleans(), wanted=WANTED)
def test_what_is_wanted_is_what_was_asked_last_but_for_what_has_been_before(colocate, wanted):
    made = gang("x", replicas=2, colocate=colocate)
    units = first_units(made, everywhere(made))
    for indices in wanted:
        before = {index for unit in units.values() for index in unit.known}
        units = resized(units, made.roles[0], some(*indices), never_over)
        again = resized(units, made.roles[0], some(*indices), never_over)
        known = [index for unit in units.values() for index in unit.known]
        assert again == units
        assert len(known) == len(set(known))
        assert set(known) == before | indices
        assert {index for unit in units.values() for index in unit.wanted} == indices


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "a/b", "a b", "ä"])
def test_a_name_that_is_no_plain_file_name_is_refused(name):
    made = gang("x")
    with pytest.raises(ValueError, match="is no name of a gang or a role"):
        check_placement(Gang(name, "job", 1, made.roles), (), "local")
    with pytest.raises(ValueError, match="is no name of a gang or a role"):
        check_placement(Gang("job-a1", "job", 1, (GangRole(name, (), ()),)), (), "local")


def test_a_refused_placement_names_what_there_is():
    made = gang("x")
    with pytest.raises(ValueError, match="no role 'chef'; its roles: \\['main'\\]"):
        check_placement(made, (Assignment("chef", 0, "local"),), "local")
    with pytest.raises(ValueError, match="no node 'mars'; the only one is 'local'"):
        check_placement(made, (Assignment("main", 0, "mars"),), "local")


def spec_of(made: Gang):
    unit = next(iter(first_units(made, everywhere(made)).values()))
    return unit_spec(made, unit, FOLDER, "mark", Limits(grace_s=3, log_limit_bytes=4096))


def test_a_supervisor_is_told_all_that_it_needs():
    spec = spec_of(
        gang(
            "prog",
            "-x",
            time_limit_s=60,
            outputs=("*.txt",),
            resources={"cpu": 1000, "memory": 1 << 30},
        )
    )
    assert spec.unit == "job_a-a1/main.0"
    assert (spec.command, spec.outputs, spec.replicas) == (["prog", "-x"], ["*.txt"], [0])
    assert (spec.workdir, spec.marker) == ("/gangs/job_a-a1/main.0/work", "mark")
    assert (spec.memory_bytes, spec.time_limit_s) == (1 << 30, 60)
    assert (spec.grace_s, spec.log_limit_bytes, spec.colocate) == (3, 4096, False)


def test_a_process_learns_where_and_what_it_is():
    env = spec_of(gang("x", name="job_a.7-a2", token="secret", replicas=1)).env
    assert env == {
        "GRIDLOOM_ATTEMPT": "2",
        "GRIDLOOM_JOB_ID": "job_a.7",
        "GRIDLOOM_NODE": "local",
        "GRIDLOOM_REPLICAS": "1",
        "GRIDLOOM_REPLICA_INDEX": "0",
        "GRIDLOOM_ROLE": "main",
        "GRIDLOOM_TOKEN": "secret",
        "GRIDLOOM_WORKDIR": "/gangs/job_a-a1/main.0/work",
        "PYTHONUNBUFFERED": "1",
    }


def test_a_role_overrides_its_gang_and_neither_what_the_process_is():
    gangs = {"A": "gang", "B": "gang", "GRIDLOOM_ROLE": "boss"}
    roles = (GangRole("main", (0,), ("x",), env={"A": "role", "PYTHONUNBUFFERED": ""}),)
    env = spec_of(Gang("job_a-a1", "job_a", 1, roles, env=gangs)).env
    assert (env["A"], env["B"], env["GRIDLOOM_ROLE"]) == ("role", "gang", "main")
    assert env["PYTHONUNBUFFERED"] == ""


def test_what_the_runtime_says_gives_way_to_the_job():
    limits = Limits(env={"A": "runtime", "B": "runtime"})
    made = gang("x", env={"B": "job"})
    env = unit_spec(made, first_units(made, some(0))["main.0"], FOLDER, "mark", limits).env
    assert (env["A"], env["B"]) == ("runtime", "job")


def test_a_shared_process_is_told_how_many_are_on_the_node():
    made = gang("x", replicas=5, colocate=True)
    unit = first_units(made, some(1, 2))["main.1"]
    env = unit_spec(made, unit, FOLDER, "mark", Limits()).env
    assert (env["GRIDLOOM_REPLICAS"], env["GRIDLOOM_REPLICA_INDEX"]) == ("2", "1")


def test_a_working_folder_of_the_users_own_is_taken_as_it_is():
    spec = spec_of(gang("x", workdir="/home/ada"))
    assert (spec.workdir, spec.env["GRIDLOOM_WORKDIR"]) == ("/home/ada", "/home/ada")
