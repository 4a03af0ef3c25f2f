"""What could never start is refused, in words that say why."""

from __future__ import annotations

import pytest
from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.scheduler.engine import Engine, events
from gridloom_services.scheduler.fitness import Fitness
from gridloom_services.scheduler.queue import Queue
from gridloom_services.scheduler.spec import JobSpec, Role


@pytest.fixture
def fitness():
    engine = Engine()
    for name in ("n1", "n2"):
        engine.apply(events.NodeSet(name, {"cpu": 8000}))
    return Fitness(engine, frozenset())


def check(fitness: Fitness, **role: object) -> None:
    given = {"name": "rank", "command": ("x",), "resources": {"cpu": 1000}, **role}
    role = Role(**{"min_replicas": given["replicas"], **given})
    fitness.check(JobSpec("p", "q", (role,)), Queue("p", "q"), "")


@pytest.mark.parametrize("per_node", [0, 2, 4])
def test_what_fits_is_let_in(fitness, per_node):
    check(fitness, replicas=4, per_node=per_node)


@pytest.mark.parametrize(
    ("role", "words", "field"),
    [
        ({"replicas": 17}, "asks for 17 cpu", "roles[0].resources.cpu"),
        (
            {"replicas": 3, "per_node": 1},
            "asks for 1 replica on each of 3 nodes",
            "roles[0].per_node",
        ),
        (
            {"replicas": 9, "per_node": 9},
            "asks for 9 replicas on one node",
            "roles[0].per_node",
        ),
        (
            {"replicas": 2, "per_node": 1, "resources": {"cpu": 9000}},
            "asks for 9 cpu",
            "roles[0].resources.cpu",
        ),
    ],
)
def test_what_never_fits_is_refused_with_what_there_is(fitness, role, words, field):
    with pytest.raises(InvalidRequestError, match=words) as caught:
        check(fitness, **role)
    assert caught.value.details["field"] == field
    assert "n1 (8 cpu)" in str(caught.value)
