"""What the installation reaches; each figure is said, beside its peer where there is one."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from typing import TYPE_CHECKING, Any

import gridloom
from gridloom.jobs.states import JobState

from tests.e2e.cluster.cluster import kubectl_program
from tests.e2e.images.build import Image, own_python
from tests.e2e.machine.run import run, say
from tests.e2e.support.ranks import OVER_TWO_NODES, where

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.e2e.support.release import Release

_JOBS, _POOLS = 9, 5
_IDLE_S = 45.0
_OF_THE_PLATFORM = (
    "app.kubernetes.io/component in (scheduler,functions,objects,mpi,front,postgresql)"
)


def same(value: int) -> int:
    return value


def test_a_job_from_submit_to_running_beside_kubectls(client: Client, release: Release):
    ours, theirs = [], []
    for index in range(_JOBS):
        theirs.append(_seconds_of_kubectl(release, f"peer-{index}"))
        began = time.monotonic()
        job = client.run(["sleep", "30"], cpus=0.1)
        while job.state is not JobState.RUNNING:
            time.sleep(0.01)
        ours.append(time.monotonic() - began)
        job.cancel(grace=0)
    say(f"job, submit to running: {_shown(ours)}; a Job by kubectl: {_shown(theirs)}")


def test_a_pool_from_zero_to_its_first_result(client: Client):
    found = []
    for _ in range(_POOLS):
        began = time.monotonic()
        with client.pool(workers=2, cpus=0.1) as pool:
            assert list(pool.map(same, range(2))) == [0, 1]
            found.append(time.monotonic() - began)
    say(f"pool of 2 from zero, submit to first result: {_shown(found)}")


def test_ranks_over_two_nodes_from_submit_until_all_have_met(client: Client):
    functions, worlds, calls = [], [], []
    for _ in range(_POOLS):
        began = time.monotonic()
        nodes = client.mpi.submit(gridloom.mpi(**OVER_TWO_NODES)(where)).result()
        functions.append(time.monotonic() - began)
        assert len(set(nodes)) > 1
        began = time.monotonic()
        with client.mpi.world(**OVER_TWO_NODES) as world:
            world.call(where)
            worlds.append(time.monotonic() - began)
            began = time.monotonic()
            world.call(where)
            calls.append(time.monotonic() - began)
    say(f"4 ranks over 2 nodes, submit to a world whose ranks have met: {_shown(worlds)}")
    say(f"4 ranks over 2 nodes, submit of a function to all results: {_shown(functions)}")
    say(f"4 ranks over 2 nodes, a further call of the world: {_shown(calls)}")


def test_what_the_platform_costs_while_nothing_happens(release: Release):
    pods = release.objects("pods", "-l", _OF_THE_PLATFORM)
    before = [_used(pod) for pod in pods]
    time.sleep(_IDLE_S)
    after = [_used(pod) for pod in pods]
    spent = sum(b[0] - a[0] for a, b in zip(before, after, strict=True)) / _IDLE_S / 1e6
    memory = sum(each[1] for each in after) / 2**20
    say(f"idle platform with PostgreSQL: {spent:.1f} millicores, {memory:.0f} MiB working set")


def _shown(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def _seconds_of_kubectl(release: Release, name: str) -> float:
    """From the apply of a Job until its pod runs, by a watch that was there before."""
    place = ["--kubeconfig", str(release.cluster.kubeconfig), "-n", release.namespace]
    words = ["get", "pods", "-l", f"job-name={name}", "-w", "--no-headers"]
    columns = ["-o", "custom-columns=PHASE:.status.phase"]
    command = [kubectl_program(), *place, *words, *columns]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        time.sleep(0.5)
        began = time.monotonic()
        release.kubectl("apply", "-f", "-", text=json.dumps(_plain_job(name)))
        assert watch.stdout is not None
        next(line for line in watch.stdout if "Running" in line)
        took_s = time.monotonic() - began
        watch.kill()
    release.kubectl("delete", "job", name, "--wait=false")
    return took_s


def _plain_job(name: str) -> dict[str, Any]:
    container = {
        "name": "it",
        "image": Image("worker", own_python()).name,
        "imagePullPolicy": "Never",
        "command": ["sleep", "30"],
        "resources": {"requests": {"cpu": "100m"}},
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": spec}},
    }


def _used(pod: dict[str, Any]) -> tuple[int, int]:
    """Nanoseconds of processor time and bytes of working set, by the kubelet's word."""
    node = pod["spec"]["nodeName"]
    whose = f"io.kubernetes.pod.name={pod['metadata']['name']}"
    program = ["docker", "exec", node, "crictl", "statsp", "-o", "json", "--label", whose]
    [found] = json.loads(run(program))["stats"]
    linux = found["linux"]
    return (
        int(linux["cpu"]["usageCoreNanoSeconds"]["value"]),
        int(linux["memory"]["workingSetBytes"]["value"]),
    )
