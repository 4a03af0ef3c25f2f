"""The chart, installed into a namespace of its own."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from tests.e2e.images.build import every_image, own_python
from tests.e2e.machine.places import E2E, REPOSITORY, run_folder
from tests.e2e.machine.run import run, say, step
from tests.e2e.node_image.go_programs import built
from tests.e2e.support.volumes import make_volumes, remove_volumes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.cluster.cluster import Cluster

NAMESPACE = "gridloom-e2e"
NAME = "gridloom"
# No example of the chart has it: what renders is also tried on the same API server.
NODE_PORT = 30151
CHART = REPOSITORY / "helm" / "gridloom"
SERVICES = ("scheduler", "functions", "objects", "mpi")


class Release:
    """The platform in the cluster: installed, upgraded, uninstalled."""

    def __init__(self, cluster: Cluster, namespace: str = NAMESPACE) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.address = f"http://{cluster.node_address()}:{NODE_PORT}"

    def install(self) -> None:
        """Install, or upgrade what an earlier run has kept; ready when this returns."""
        if self.cluster.ours:
            make_volumes(self.cluster)
        started = time.monotonic()
        with step("helm install"):
            self.upgrade("--create-namespace")
        say(f"installed and ready in {time.monotonic() - started:.1f} s")

    def upgrade(self, *words: str) -> None:
        """Bring the chart and the images as they are now, with further settings."""
        values = ("-f", str(self._values()), *self._revisions())
        self.helm("upgrade", "--install", NAME, str(CHART), *values, *_WAIT, *words)

    def uninstall(self) -> None:
        """Remove it with its namespace."""
        with step("helm uninstall"):
            self.helm("uninstall", NAME, "--ignore-not-found", *_WAIT)
            self.cluster.kubectl("delete", "namespace", self.namespace, "--ignore-not-found")
            if self.cluster.ours and self.namespace == NAMESPACE:
                remove_volumes(self.cluster)

    def helm(self, *words: str) -> str:
        """What helm answers."""
        program = built("helm").path("helm")
        place = ["--namespace", self.namespace, "--kubeconfig", str(self.cluster.kubeconfig)]
        return run([program, *words, *place])

    def kubectl(self, *words: str, text: str | None = None) -> str:
        """What kubectl answers, in the release's namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *words, text=text)

    def objects(self, kind: str, *words: str) -> list[dict[str, Any]]:
        """Objects of one kind in the namespace."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json", *words))[
            "items"
        ]
        return found

    def admin_key(self) -> str:
        """The first administrator's key, from its Secret."""
        path = "jsonpath={.data.admin-key}"
        text = self.kubectl("get", "secret", f"{NAME}-access", "-o", path)
        return base64.b64decode(text).decode().strip()

    def kill(self, component: str) -> None:
        """End a component's pods without a word to them; others come in their place."""
        selector = f"app.kubernetes.io/component={component}"
        words = ("--grace-period=0", "--force", "--wait=false")
        self.kubectl("delete", "pod", "-l", selector, *words)

    def wait_until_ready(self, component: str) -> None:
        """Until the component's pods answer again."""
        kind = "statefulset" if component == "postgresql" else "deployment"
        self.kubectl("rollout", "status", f"{kind}/{NAME}-{component}", "--timeout=180s")

    def _revisions(self) -> list[str]:
        """Images keep their names: pods of a cluster that was kept are told that they are new."""
        if not self.cluster.ours:
            return []
        images = {image.target: image.name for image in every_image([])}
        words = []
        for target in (*SERVICES, "front"):
            found = run(["docker", "image", "inspect", "-f", "{{.Id}}", images[target]]).strip()
            words += ["--set", f"{target}.podAnnotations.image={found.rpartition(':')[2][:16]}"]
        return words

    def _values(self) -> Path:
        text = (E2E / "values.yaml").read_text()
        text = text.replace("{python}", own_python())
        file = run_folder() / "values.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file


_WAIT = ("--wait", "--timeout", "300s")
