"""A cluster made by kind, or one that exists; the tests see no difference."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.machine import docker
from tests.e2e.machine.places import run_folder
from tests.e2e.machine.run import StepError, run, say, step, succeeds
from tests.e2e.node_image import image
from tests.e2e.node_image.go_programs import built, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "gridloom"
_CONFIGURATION = Path(__file__).parent / "kind.yaml"
_SYSTEM = ("deploy/coredns", "ds/kube-proxy")
_PATIENCE = "--timeout=180s"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What tests need of a cluster: its key, its programs, a node's address."""

    kubeconfig: Path
    # Whether kind made it here: only then can images be loaded and nodes be cut off.
    ours: bool

    def kubectl(self, *words: str, text: str | None = None) -> str:
        """What kubectl answers."""
        return run([kubectl_program(), "--kubeconfig", self.kubeconfig, *words], text=text)

    def node_address(self) -> str:
        """Where NodePorts are reached from this machine: the first worker, which is never lost."""
        node = json.loads(self.kubectl("get", "node", self.workers()[0], "-o", "json"))
        addresses = node["status"]["addresses"]
        return next(str(a["address"]) for a in addresses if a["type"] == "InternalIP")

    def workers(self) -> list[str]:
        """Names of the nodes that are no control plane."""
        selector = "!node-role.kubernetes.io/control-plane"
        words = self.kubectl("get", "nodes", "-l", selector, "-o", "name").split()
        return [word.removeprefix("node/") for word in words]

    def load(self, images: Sequence[str], nodes: Sequence[str] = ()) -> None:
        """Have the images of this machine's docker on these nodes, or on every worker."""
        if not self.ours:
            say(f"E2E_KUBECONFIG: the cluster must find {', '.join(images)} by itself")
            return
        where = ",".join(nodes or self.workers())
        with step(f"load {', '.join(images)} onto {where}"):
            run([kind_program(), "load", "docker-image", "--name", NAME, "--nodes", where, *images])


def existing() -> Cluster | None:
    """The cluster that `E2E_KUBECONFIG` names, or the one that an earlier `up` left here."""
    given = os.environ.get("E2E_KUBECONFIG")
    if given:
        return Cluster(Path(given).absolute(), ours=False)
    kept = _kubeconfig()
    if not kept.exists():
        return None
    image.own_docker()
    found = Cluster(kept, ours=True)
    return found if succeeds(_ready(kept)) else None


def up() -> Cluster:
    """A cluster that is ready: pods run on every node and find each other by name."""
    found = existing()
    if found is not None:
        return found
    node_image = prepare()
    run_folder().mkdir(parents=True, exist_ok=True)
    with step("create the cluster"):
        _create(node_image)
    with step("wait for its own pods"):
        cluster = Cluster(_kubeconfig(), ours=True)
        run(_ready(cluster.kubeconfig))
        for name in _SYSTEM:
            cluster.kubectl("-n", "kube-system", "rollout", "status", name, _PATIENCE)
    return cluster


def prepare() -> str:
    """Have all that a cluster is made from, in the cache and in docker; its nodes' image."""
    image.build_programs()
    image.own_docker()
    return _node_image()


def down() -> None:
    """Remove the cluster, and the docker that was started for it; nothing where there is none."""
    if docker.installed():
        _delete()
        _kubeconfig().unlink(missing_ok=True)
        return
    if not run_folder().exists():
        return
    os.environ.update(docker.environment())
    if succeeds(["docker", "version"]):
        _delete()
    docker.stop()


def _delete() -> None:
    """Without building kind for it: where there is none, there is no cluster."""
    succeeds([place_of("kind") / "kind", "delete", "cluster", "--name", NAME])


def kind_program() -> Path:
    """The program `kind`."""
    return built("kind").path("kind")


def kubectl_program() -> Path:
    """The program `kubectl`."""
    return built("kubernetes").path("kubectl")


def _node_image() -> str:
    """`E2E_NODE_IMAGE`, kind's own where docker can pull it, else the one made here."""
    given = os.environ.get("E2E_NODE_IMAGE")
    if given:
        return given
    if docker.installed() and succeeds(["docker", "pull", "--quiet", _kinds_own()]):
        return _kinds_own()
    return image.provide()


def _kinds_own() -> str:
    """The image that this kind was released with, as it was compiled into it."""
    found = re.search(rb"kindest/node:v[0-9.]+@sha256:[0-9a-f]{64}", kind_program().read_bytes())
    if found is None:
        raise StepError("this kind names no node image of its own")
    return found[0].decode()


def _create(node_image: str) -> None:
    # Left over from an earlier run that was killed, it would be in the way.
    _delete()
    kubeconfig = _kubeconfig()
    run(
        [
            *(kind_program(), "create", "cluster", "--name", NAME, "--image", node_image),
            *("--config", _CONFIGURATION, "--wait", "180s", "--kubeconfig", kubeconfig),
        ]
    )
    if not docker.installed():
        _lead_to_node(kubeconfig)


def _lead_to_node(kubeconfig: Path) -> None:
    """The port that kind publishes is on the loopback of docker's own network, not on ours."""
    words = ["docker", "inspect", "-f", "{{.NetworkSettings.Networks.kind.IPAddress}}"]
    address = ipaddress.ip_address(run([*words, f"{NAME}-control-plane"]).strip())
    text = kubeconfig.read_text()
    kubeconfig.write_text(re.sub(r"(server: https://)\S+", rf"\g<1>{address}:6443", text))


def _ready(kubeconfig: Path) -> list[str | Path]:
    words = ["wait", "--for=condition=Ready", "nodes", "--all", _PATIENCE]
    return [kubectl_program(), "--kubeconfig", kubeconfig, *words]


def _kubeconfig() -> Path:
    return run_folder() / "kubeconfig"
