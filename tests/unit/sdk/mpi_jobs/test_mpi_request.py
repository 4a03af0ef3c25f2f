"""From the words of `client.mpi.run` and `@gridloom.mpi` to what travels."""

from __future__ import annotations

import pickle
import threading
from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom.api.mpi.v1 import mpi_pb2
from gridloom.errors import InvalidRequestError, UnpicklableError
from gridloom.mpi_jobs.call import function_call, pickled_call
from gridloom.mpi_jobs.face import program_draft
from gridloom.mpi_jobs.request import FunctionCall, mpi_draft
from gridloom.options import Defaults

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = Defaults("chem", "long")


def spec_of(command, **options) -> mpi_pb2.MpiJobSpec:
    draft = program_draft(command, options, NOWHERE)
    return draft.spec(draft.job.spec, "/bin/python")


def heat(comm, steps):
    return comm, steps


def test_a_program_is_the_command_of_each_rank():
    spec = spec_of(["./solver", "--n", "100"], ranks=8, cpus=2, memory="1GiB")
    assert list(spec.rank.command) == ["./solver", "--n", "100"]
    assert (spec.rank.replicas, spec.rank.resources["cpu"]) == (8, 2000)
    assert (spec.job.project, spec.job.queue, spec.job.name) == ("chem", "long", "solver")
    assert not spec.job.roles


def test_without_parentheses_it_is_said_what_to_write():
    with pytest.raises(InvalidRequestError, match=r"@gridloom\.mpi\(ranks=4\)"):
        gridloom.mpi(heat)


def test_words_of_ranks_travel():
    spec = spec_of(
        ["x"],
        ranks=2,
        ranks_per_node=1,
        implementation="openmpi",
        threads=3,
        bind=True,
        timeout="5m",
        labels={"a": 1},
    )
    assert (spec.implementation, spec.threads) == ("openmpi", 3)
    assert spec.binding == mpi_pb2.MPI_BINDING_CORE
    assert spec.rank.per_node == 1
    assert spec.timeout.seconds == 300
    assert spec.job.labels["a"] == "1"


def test_a_function_travels_without_a_command(tmp_path: Path):
    call = FunctionCall("heat", b"pickle", root_only=True)
    draft = mpi_draft(call, {"ranks": 2}, NOWHERE, tmp_path)
    spec = draft.spec(draft.job.spec, "")
    assert not spec.rank.command
    assert (spec.function.name, spec.function.root_only, spec.job.name) == ("heat", True, "heat")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "ranks"),
        ({"ranks": 0}, "ranks"),
        ({"ranks": 2, "rank": 3}, "rank"),
        ({"ranks": 2, "implementation": "mpick"}, "implementation"),
        ({"ranks": 2, "timeout": "soon"}, "timeout"),
        ({"ranks": 2, "array": range(3)}, "array"),
    ],
)
def test_what_cannot_be_is_refused_here_by_its_name(options, field):
    with pytest.raises(InvalidRequestError) as caught:
        spec_of(["x"], **options)
    assert caught.value.field == field


def test_a_decorated_function_still_runs_here():
    decorated = gridloom.mpi(ranks=2)(heat)
    assert decorated("world", 3) == ("world", 3)
    assert decorated.name == "heat"


def test_options_make_a_changed_copy():
    decorated = gridloom.mpi(ranks=2, result="root")(heat)
    changed = decorated.options(ranks=4, result=None)
    assert dict(changed.call_options) == {"ranks": 4}
    assert decorated.call_options["ranks"] == 2


def test_a_misspelt_result_is_refused_where_the_function_is_made():
    with pytest.raises(InvalidRequestError, match="result"):
        gridloom.mpi(ranks=2, result="rot")


def test_a_call_opens_as_function_and_arguments():
    function, args, kwargs = pickle.loads(pickled_call(lambda comm, n: n, (3,), {"m": 4}))
    assert (function(None, 7), args, kwargs) == (7, (3,), {"m": 4})


def test_an_argument_that_cannot_travel_is_named():
    with pytest.raises(UnpicklableError, match=r"args\[1\]"):
        function_call(heat, (1, threading.Lock()), {})
