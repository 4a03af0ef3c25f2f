"""The pod of a unit: a pure function of the gang, the unit, and what all pods get."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gridloom.values import dataclass

from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.containers import (
    command_container,
    sidecar_container,
    staging_container,
)
from gridloom_services.scheduler.runtime.kubernetes.flavours import ANY, Flavour
from gridloom_services.scheduler.runtime.kubernetes.manifests import (
    Manifest,
    gang_labels,
    owned,
)
from gridloom_services.scheduler.runtime.kubernetes.volumes import pod_volumes

if TYPE_CHECKING:
    from gridloom_services.scheduler.runtime.base import Gang
    from gridloom_services.scheduler.runtime.kubernetes.plan import PodPlan
    from gridloom_services.scheduler.runtime.units import Unit

# What the cluster may need before the command begins, on top of what the command may need.
_START_ALLOWANCE_S = 900
_NODE_CONDITIONS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


@dataclass(frozen=True, slots=True)
class PodSite:
    """Where a pod goes. `owner`: the gang's object.

    `subdomain`: its gang has a Service. `hosts`: where a role that shares pods has its others.
    """

    owner: Manifest
    flavour: Flavour = ANY
    subdomain: bool = False
    hosts: str = ""


def pod_manifest(gang: Gang, unit: Unit, plan: PodPlan, site: PodSite) -> Manifest:
    """Return the pod that runs a unit, pinned to its node."""
    metadata = {
        "name": names.pod_name(gang.name, unit),
        "labels": {**gang_labels(gang, plan.labels), names.ROLE: unit.role},
        "annotations": {names.GANG: gang.name, names.UNIT: unit.name},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": owned(metadata, site.owner),
        "spec": {
            **_identity(plan),
            **_host(gang, unit, site),
            **_placement(unit, plan, site),
            **_life(gang, plan),
            "initContainers": [
                *staging_container(gang, unit, plan),
                sidecar_container(gang, unit, plan),
            ],
            "containers": [command_container(gang, unit, plan, site.hosts)],
            "volumes": pod_volumes(gang, unit, plan),
        },
    }


def _identity(plan: PodPlan) -> Manifest:
    """No rights in the cluster, no root, and nothing that a container does not need."""
    identity: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": plan.run_as_user,
            "runAsGroup": plan.run_as_user,
            "fsGroup": plan.run_as_user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if plan.service_account:
        identity["serviceAccountName"] = plan.service_account
    if plan.pull_secrets:
        identity["imagePullSecrets"] = [{"name": name} for name in plan.pull_secrets]
    return identity


def _host(gang: Gang, unit: Unit, site: PodSite) -> Manifest:
    if not site.subdomain:
        return {}
    return {"hostname": names.host_name(unit), "subdomain": names.dns_name(gang.name)}


def _placement(unit: Unit, plan: PodPlan, site: PodSite) -> Manifest:
    """Pin the pod by affinity, not by `nodeName`: so the cluster's own rules are still asked."""
    pinned = {"key": "metadata.name", "operator": "In", "values": [unit.node]}
    lost = [
        {
            "key": key,
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": math.ceil(plan.lost_node_s),
        }
        for key in _NODE_CONDITIONS
    ]
    placement: Manifest = {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchFields": [pinned]}]
                }
            }
        },
        "tolerations": [*map(dict, site.flavour.tolerations), *lost],
    }
    if site.flavour.node_selector:
        placement["nodeSelector"] = dict(site.flavour.node_selector)
    if plan.priority_class:
        placement["priorityClassName"] = plan.priority_class
    return placement


def _life(gang: Gang, plan: PodPlan) -> Manifest:
    """One life, and an end to it that comes even if nobody is left to ask for it.

    The sidecar keeps the time limit, which counts from the command's own start, and the grace. The
    processes see each other: a command that is no process 1 has the signals that it expects, and
    the sidecar can send them.
    """
    life: Manifest = {
        "restartPolicy": "Never",
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": math.ceil(plan.grace_s + plan.storing_s),
    }
    if gang.time_limit_s is not None:
        allowance_s = plan.grace_s + plan.storing_s + _START_ALLOWANCE_S
        life["activeDeadlineSeconds"] = math.ceil(gang.time_limit_s + allowance_s)
    return life
