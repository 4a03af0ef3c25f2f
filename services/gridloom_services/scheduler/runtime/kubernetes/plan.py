"""What a Kubernetes runtime is told once: where pods go, and what every pod gets."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gridloom_services.scheduler.runtime.kubernetes.flavours import Flavour


@dataclass(frozen=True, slots=True)
class PodPlan:
    """What is the same for all pods.

    `worker_image` has `gridloom` and Python: it stages files, brings out what a command leaves, and
    runs the commands of roles that name no image. `own_images` are repositories of ours, whose
    containers have a root file system that is read-only. `storing_s`: how long the bringing out may
    take after the command has ended. `ca_secret` has the key `ca.crt`, whom pods trust when they
    speak to the platform. `cpu_limits`: a pod may not use more processor time than it asked for.
    `network_policies`: the pods of a gang let in each other, and nobody else.
    """

    worker_image: str
    own_images: tuple[str, ...] = ()
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    priority_class: str = ""
    run_as_user: int = 65532
    labels: Mapping[str, str] = field(default_factory=dict)
    ca_secret: str = ""
    cpu_limits: bool = False
    network_policies: bool = False
    grace_s: float = 10.0
    storing_s: float = 600.0
    lost_node_s: float = 30.0
    log_limit_bytes: int = 256 << 20

    def is_own(self, image: str) -> bool:
        """Say whether an image is one of ours: with Python and `gridloom` in it."""
        repositories = {repository_of(self.worker_image), *self.own_images}
        return not image or repository_of(image) in repositories


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """Which cluster, and how patient to be with it.

    `kubeconfig` None: the service account of the pod that this runs in. `anchor` is a ConfigMap
    that owns every gang: they go when it does. Seconds: `image_patience_s` until an image that
    cannot be pulled counts as not found, `room_patience_s` until a pod that finds no room on its
    node goes back, `pods.lost_node_s` until a node that is silent counts as lost.
    """

    namespace: str
    pods: PodPlan
    flavours: tuple[Flavour, ...] = ()
    kubeconfig: Path | None = None
    context: str = ""
    anchor: str = ""
    image_patience_s: float = 30.0
    room_patience_s: float = 30.0
    creates_at_once: int = 32


def repository_of(image: str) -> str:
    """Return an image's name without tag and digest."""
    name = image.partition("@")[0]
    head, separator, last = name.rpartition("/")
    return f"{head}{separator}{last.partition(':')[0]}"
