"""Why a gang could never run here."""

from __future__ import annotations

import pytest
from gridloom_services.scheduler.engine import EngineError
from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.decisions import Misfit

from tests.unit.scheduler.engine.build import Cluster, role


def misfit(*roles, selector=None, cluster=None):
    return (cluster or Cluster(4, 8)).engine.fits_ever(roles, selector)


def test_a_gang_that_fits_an_empty_cluster_fits():
    assert misfit(role(3, cpu=4)) is None
    assert misfit(role(1, cpu=8), role(1, name="b", cpu=4)) is None


def test_running_work_and_cordons_do_not_matter():
    cluster = Cluster(4)
    cluster.submit("a", role(cpu=4))
    cluster.cycle()
    cluster.tell(ev.NodeSet("n0", {"cpu": 4}, schedulable=False))
    assert misfit(role(cpu=4), cluster=cluster) is None


def test_a_replica_larger_than_every_node_names_the_largest():
    assert misfit(role(cpu=9)) == Misfit("main", "cpu", 9, 8)


def test_a_gang_larger_than_the_cluster_names_what_the_nodes_hold():
    assert misfit(role(5, cpu=3)) == Misfit("main", "cpu", 15, 9)


def test_an_unknown_resource_is_refused_and_not_learnt():
    cluster = Cluster(4)
    assert misfit(role(cpu=1, unobtainium=1), cluster=cluster) == Misfit(
        "main", "unobtainium", 1, 0
    )
    assert "unobtainium" not in cluster.engine._state.resources.names


def test_absurd_amounts_are_a_misfit_too():
    assert misfit(role(cpu=2**70)) == Misfit("main", "cpu", 2**70, 8)


def test_labels_that_no_node_carries_are_a_misfit_of_no_resource():
    assert misfit(role(), selector={"zone": "x"}) == Misfit("main", "", 1, 0)


def test_roles_that_fit_only_without_each_other_are_a_misfit():
    assert misfit(role(2, name="a", cpu=4), role(1, name="b", cpu=8)) == Misfit("a", "", 2, 0)


def test_a_count_that_makes_no_sense_is_an_error():
    with pytest.raises(EngineError, match="min_replicas"):
        misfit(role(1, 2))
