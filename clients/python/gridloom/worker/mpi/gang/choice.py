"""Which agent a host of several has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.worker.hosts import hosts_of, own_host
from gridloom.worker.mpi.agent import Agent
from gridloom.worker.mpi.gang.follower import Follower
from gridloom.worker.mpi.gang.lead import OtherHosts
from gridloom.worker.mpi.world import WorldAgent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom.worker.mpi.spec import LaunchSpec


def agent_of_host(spec: LaunchSpec, environment: Mapping[str, str]) -> Agent:
    """The first host's has the others behind it; theirs follow it."""
    hosts = hosts_of(environment)
    kind = WorldAgent if spec.is_world else Agent
    if not hosts:
        return kind(spec, environment)
    if own_host(hosts, environment) != hosts[0]:
        return Follower(spec, environment, hosts)
    return kind(spec, environment, OtherHosts(spec, hosts, environment.get("GRIDLOOM_TOKEN", "")))
