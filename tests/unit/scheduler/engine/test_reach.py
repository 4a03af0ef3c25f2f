"""Which nodes a class may use: devices are spared."""

from __future__ import annotations

from gridloom_services.scheduler.engine import events as ev

from tests.unit.scheduler.engine.build import Cluster, nodes_of, role

GPU = "nvidia.com/gpu"


def mixed(**options):
    cluster = Cluster(4, **options)
    cluster.tell(ev.NodeSet("gpu", {"cpu": 4, GPU: 2}))
    return cluster


def test_work_without_devices_stays_off_nodes_that_have_some():
    cluster = mixed()
    cluster.submit("a", role(cpu=4))
    cluster.submit("b", role(cpu=4))
    assert cluster.started() == ["a"]


def test_it_may_use_them_where_it_could_run_nowhere_else():
    cluster = mixed()
    cluster.submit("a", role(2, cpu=4))
    [start] = cluster.cycle().starts
    assert sorted(nodes_of(start.placement)) == ["gpu", "n0"]


def test_it_may_use_them_where_there_is_no_other_node():
    cluster = Cluster()
    cluster.tell(ev.NodeSet("laptop", {"cpu": 4, GPU: 1}))
    cluster.submit("a")
    assert cluster.started() == ["a"]


def test_it_may_use_them_where_sparing_is_off():
    cluster = mixed(spare_devices=False)
    cluster.submit("a", role(cpu=4))
    cluster.submit("b", role(cpu=4))
    assert cluster.started() == ["a", "b"]


def test_a_gang_with_devices_may_use_their_nodes_for_all_its_roles():
    cluster = mixed()
    workers = ev.RoleRequest("worker", 2, 0, {"cpu": 1, GPU: 1})
    cluster.submit("a", role(name="head", cpu=1), workers)
    [start] = cluster.cycle().starts
    assert nodes_of(start.placement) == ["gpu"] * 3


def test_a_resource_without_a_slash_is_no_device():
    cluster = Cluster(1)
    cluster.tell(ev.NodeSet("big", {"cpu": 4, "licence": 2}))
    cluster.submit("a", role(cpu=1))
    cluster.submit("b", role(cpu=1))
    assert cluster.started() == ["a", "b"]


def test_what_a_class_may_use_follows_the_nodes():
    cluster = mixed()
    cluster.submit("a", role(cpu=4))
    cluster.submit("b", role(cpu=4))
    cluster.cycle()
    cluster.tell(ev.NodeRemoved("n0"))
    assert cluster.started() == ["b"]


def test_many_kinds_of_nodes_are_looked_at_as_few_are():
    cluster = Cluster(*range(1, 100))
    cluster.submit("a", role(cpu=99))
    cluster.submit("b", role(cpu=100))
    assert cluster.started() == ["a"]
    assert cluster.engine.explain("b", 0).reason == "NODES_TOO_SMALL"
