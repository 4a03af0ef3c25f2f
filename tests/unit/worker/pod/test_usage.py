from __future__ import annotations

from gridloom.worker.pod.usage import ContainerUsage, Usage


def test_a_group_of_the_newer_kind_is_read(tmp_path):
    group = tmp_path / "7/root/sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (group / "memory.peak").write_text("4096\n")
    usage = ContainerUsage(7, tmp_path)
    usage.look()
    assert usage.latest == Usage(1.5, 4096)


def test_a_group_of_the_older_kind_is_read(tmp_path):
    group = tmp_path / "7/root/sys/fs/cgroup"
    (group / "cpuacct").mkdir(parents=True)
    (group / "memory").mkdir()
    (group / "cpuacct/cpuacct.usage").write_text("2500000000\n")
    (group / "memory/memory.max_usage_in_bytes").write_text("8192\n")
    usage = ContainerUsage(7, tmp_path)
    usage.look()
    assert usage.latest == Usage(2.5, 8192)


def test_nothing_is_known_where_nothing_can_be_read(tmp_path):
    usage = ContainerUsage(7, tmp_path)
    usage.look()
    assert usage.latest == Usage(0.0, 0)
