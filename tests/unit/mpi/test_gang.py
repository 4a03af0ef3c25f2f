"""An MPI request and the gang that it becomes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gridloom.worker.mpi.spec import SPEC_VARIABLE, LaunchSpec, from_text
from gridloom_services.common.errors import InvalidRequestError, VersionMismatchError
from gridloom_services.mpi.gang import rank_gang
from gridloom_services.mpi.request import Function, MpiRequest, checked

PROGRAM = MpiRequest(ranks=4, command=("./solver", "--n", "9"), key="k")
FUNCTION = MpiRequest(ranks=2, function=Function("heat"), python_version="3.11", key="k")


def launch_spec(request: MpiRequest) -> LaunchSpec:
    return from_text(rank_gang(checked(request), "mpich").env[SPEC_VARIABLE])


def test_ranks_are_replicas_that_share_an_agent():
    gang = rank_gang(PROGRAM, "mpich")
    assert (gang.role, gang.replicas, gang.colocate) == ("rank", 4, True)
    assert gang.command == ("python3", "-m", "gridloom.worker.rank_agent")


def test_ranks_per_node_are_the_plan_s_affair_unless_said():
    assert rank_gang(PROGRAM, "mpich").per_node == 0
    assert rank_gang(replace(PROGRAM, per_node=2), "mpich").per_node == 2


def test_ranks_of_open_mpi_are_on_one_node():
    assert rank_gang(PROGRAM, "openmpi").per_node == 4
    with pytest.raises(InvalidRequestError, match="all on one node"):
        rank_gang(replace(PROGRAM, per_node=2), "openmpi")


def test_the_agent_is_told_program_and_implementation():
    spec = launch_spec(replace(PROGRAM, implementation="openmpi"))
    assert (spec.ranks, spec.command) == (4, ["./solver", "--n", "9"])
    assert spec.implementation == "openmpi"
    assert launch_spec(PROGRAM).implementation == "mpich"


def test_what_ranks_leave_lies_below_a_folder_of_the_request():
    gang = rank_gang(FUNCTION, "mpich")
    assert gang.outputs == (launch_spec(FUNCTION).report,)
    other = rank_gang(replace(FUNCTION, key="other"), "mpich")
    assert set(gang.files.values()).isdisjoint(other.files.values())


def test_a_function_brings_its_call_and_its_modules():
    assert list(rank_gang(FUNCTION, "mpich").files) == ["call"]
    with_modules = replace(FUNCTION, function=Function("heat", has_bundle=True))
    assert list(rank_gang(with_modules, "mpich").files) == ["call", "bundle"]
    assert list(rank_gang(PROGRAM, "mpich").files) == []


@pytest.mark.parametrize(
    ("said", "cpu", "threads"), [(0, 1000, 1), (0, 4000, 4), (0, 500, 1), (3, 1000, 3)]
)
def test_a_rank_has_as_many_threads_as_whole_cpus_unless_it_says(said, cpu, threads):
    request = replace(PROGRAM, threads=said, resources={"cpu": cpu})
    assert launch_spec(request).threads == threads


@pytest.mark.parametrize(
    ("timeout_s", "time_limit_s", "expected"),
    [
        (None, None, (None, "", False)),
        (5.0, None, (5.0, "time-out of 5 s", True)),
        (5.0, 60.0, (5.0, "time-out of 5 s", True)),
        (None, 60.0, (59.0, "time limit of 60 s", False)),
        (90.0, 2.0, (1.8, "time limit of 2 s", False)),
    ],
)
def test_the_agent_looks_at_the_ranks_before_the_job_s_own_limit(timeout_s, time_limit_s, expected):
    spec = launch_spec(replace(PROGRAM, timeout_s=timeout_s, time_limit_s=time_limit_s))
    assert (spec.timeout_s, spec.limit, spec.is_of_ranks) == expected


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ranks": 0}, "ranks"),
        ({"ranks": 20_000}, "ranks"),
        ({"threads": -1}, "threads"),
        ({"per_node": -1}, "ranks_per_node"),
        ({"per_node": 5}, "ranks_per_node"),
        ({"implementation": "lam"}, "implementation"),
        ({"command": ()}, "command"),
        ({"function": Function("f")}, "command"),
        ({"timeout_s": 0.0}, "timeout"),
        ({"idle_timeout_s": 5.0}, "idle_timeout"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(change, field):
    with pytest.raises(InvalidRequestError) as caught:
        checked(replace(PROGRAM, **change))
    assert caught.value.details["field"] == field


def test_a_function_of_a_python_that_is_not_here_is_refused():
    with pytest.raises(VersionMismatchError, match=r"3\.9"):
        checked(replace(FUNCTION, python_version="3.9"))
