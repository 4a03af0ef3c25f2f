"""Suites that stand elsewhere and run on the cluster too, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.cluster.cluster import kubectl_program
from tests.e2e.images.build import Image, own_python
from tests.e2e.machine import docker, network
from tests.e2e.machine.places import REPOSITORY
from tests.e2e.machine.run import run, say
from tests.e2e.node_image.go_programs import built

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.cluster.cluster import Cluster


def run_suite(cluster: Cluster, *words: str, processes: int = 0) -> None:
    """Run pytest there; AssertionError with its words when something is not green."""
    programs = (kubectl_program().parent, built("helm").folder, built("kubeconform").folder)
    path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", str(processes), "-q", "-rs", *words],
        cwd=REPOSITORY,
        env={**os.environ, **_place(cluster), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    say(done.stdout.splitlines()[-1])


def _place(cluster: Cluster) -> Mapping[str, str]:
    return {
        "E2E_KUBECONFIG": str(cluster.kubeconfig),
        "E2E_NODE": cluster.workers()[0],
        "E2E_WORKER_IMAGE": Image("worker", own_python()).name,
        "E2E_HOST": own_address(),
    }


def own_address() -> str:
    """An address of this machine that the cluster reaches (`E2E_HOST`, where it is not known)."""
    given = os.environ.get("E2E_HOST")
    if given:
        return given
    if not docker.installed():
        return network.OUTER
    [found] = json.loads(run(["docker", "network", "inspect", "kind"]))
    gateways = [each["Gateway"] for each in found["IPAM"]["Config"] if "Gateway" in each]
    return str(next(address for address in gateways if "." in address))
