"""The containers of a unit's pod: staging, the sidecar, and the command. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gridloom.worker.hosts import HOSTS_VARIABLE

from gridloom_services.scheduler.runtime.kubernetes import names, volumes
from gridloom_services.scheduler.runtime.kubernetes.manifests import TOKEN_KEY, Manifest
from gridloom_services.scheduler.runtime.kubernetes.quantities import CPU, MEMORY, quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.runtime.base import Gang, GangRole
    from gridloom_services.scheduler.runtime.kubernetes.plan import PodPlan
    from gridloom_services.scheduler.runtime.units import Unit

COMMAND = "command"
SIDECAR = "gridloom"
STAGING = "gridloom-files"

# Becomes the command, with its streams in files that the sidecar reads, and its number beside them.
# Replicas that share a process wait for the files through which the sidecar speaks to it.
_BECOME = 'echo $$ >"$0/pid"; exec "$@" >>"$0/stdout" 2>>"$0/stderr"'
_WAIT = 'while [ ! -e "$0/ready" ]; do sleep 0.05; done; '
_PYTHON = "python3"
# A command may be over before Python has begun to listen: the word to go must not end it meanwhile.
_LISTENING_LATE = f"trap '' TERM; exec {_PYTHON} -m gridloom.worker.pod.sidecar"
# Said to a sidecar when its pod begins to be deleted: the word to go comes only once its command is
# over, which may not listen to it.
_DELETED = f": >{volumes.RUN}/deleted"
# What sidecars need is not taken from the room that the plan gives to commands.
_NOTHING = {"requests": {CPU: "0", MEMORY: "0"}}


def staging_container(gang: Gang, unit: Unit, plan: PodPlan) -> list[Manifest]:
    """Return what brings files in before anything else begins, where there is something to do."""
    role = gang.role(unit.role)
    if not volumes.needs_staging(role, plan):
        return []
    mounts: list[Manifest] = [
        {"name": "bin", "mountPath": volumes.BIN},
        {"name": "gang", "mountPath": volumes.GANG, "readOnly": True},
        *volumes.common_mounts(role, plan),
        *_claim_mounts(role),
    ]
    return [
        {
            **_ours(plan, STAGING, [_PYTHON, "-m", "gridloom.worker.pod.stage"], mounts),
            "env": _environment_list(_own_environment(gang, unit, plan), gang),
        }
    ]


def sidecar_container(gang: Gang, unit: Unit, plan: PodPlan) -> Manifest:
    """Return what runs beside the command, from before its start until after its end."""
    role = gang.role(unit.role)
    mounts: list[Manifest] = [
        {"name": "run", "mountPath": volumes.RUN},
        {"name": "orders", "mountPath": volumes.ORDERS, "readOnly": True},
        *volumes.common_mounts(role, plan),
        *_claim_mounts(role),
    ]
    order = _sidecar_order(gang, unit, plan)
    env = {**_own_environment(gang, unit, plan), "GRIDLOOM_SIDECAR": order}
    return {
        **_ours(plan, SIDECAR, ["/bin/sh", "-c", _LISTENING_LATE], mounts),
        "env": _environment_list(env, gang),
        "restartPolicy": "Always",
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", _DELETED]}}},
        "terminationMessagePolicy": "File",
    }


def _claim_mounts(role: GangRole) -> list[Manifest]:
    return [mount for mount in volumes.user_mounts(role) if mount["name"].startswith("claim-")]


def _sidecar_order(gang: Gang, unit: Unit, plan: PodPlan) -> str:
    role = gang.role(unit.role)
    order = {
        "workdir": volumes.workdir(role),
        "outputs": list(role.outputs),
        "time_limit_s": gang.time_limit_s,
        "grace_s": plan.grace_s,
        "log_limit_bytes": plan.log_limit_bytes,
        "replicas": list(unit.known) if unit.colocated else [],
    }
    return json.dumps(order, separators=(",", ":"))


def command_container(gang: Gang, unit: Unit, plan: PodPlan, hosts: str = "") -> Manifest:
    """Return what was asked for. `hosts`: the others of a role that shares pods."""
    role = gang.role(unit.role)
    is_own = plan.is_own(role.image)
    mounts: list[Manifest] = [{"name": "run", "mountPath": volumes.RUN}]
    if not is_own:
        mounts.append({"name": "bin", "mountPath": volumes.BIN, "readOnly": True})
    shell = "/bin/sh" if is_own else f"{volumes.BIN}/sh"
    if unit.colocated:
        # The cluster gives 64 MiB, which a dozen ranks use up. It counts as memory of the pod.
        mounts.append({"name": "shm", "mountPath": volumes.SHM})
    script = (_WAIT if unit.colocated else "") + _BECOME
    return {
        "name": COMMAND,
        "image": role.image or plan.worker_image,
        "imagePullPolicy": plan.pull_policy,
        "command": [shell, "-c", escaped(script), volumes.RUN, *map(escaped, role.command)],
        "workingDir": volumes.workdir(role),
        "env": [
            *_environment_list(_command_environment(gang, unit, plan, hosts), gang),
            *_secret_environment(role),
        ],
        "resources": _resources(role, unit, plan),
        "securityContext": _security(read_only=is_own),
        "volumeMounts": [*mounts, *volumes.common_mounts(role, plan), *volumes.user_mounts(role)],
    }


def escaped(text: str) -> str:
    """Return a text that Kubernetes makes the given one of: it knows "$(NAME)" and "$$"."""
    return text.replace("$", "$$")


def _ours(plan: PodPlan, name: str, command: list[str], mounts: list[Manifest]) -> Manifest:
    return {
        "name": name,
        "image": plan.worker_image,
        "imagePullPolicy": plan.pull_policy,
        "command": command,
        "resources": _NOTHING,
        "securityContext": _security(read_only=True),
        "volumeMounts": mounts,
    }


def _security(*, read_only: bool) -> Manifest:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": read_only,
    }


def _resources(role: GangRole, unit: Unit, plan: PodPlan) -> Manifest:
    """Return what the replicas in the pod need together. Only "cpu" may be exceeded."""
    amounts = {
        resource: quantity(resource, amount * len(unit.known))
        for resource, amount in role.resources.items()
        if amount
    }
    limits = {key: value for key, value in amounts.items() if plan.cpu_limits or key != CPU}
    return {"requests": amounts, "limits": limits}


def _own_environment(gang: Gang, unit: Unit, plan: PodPlan) -> dict[str, str]:
    role = gang.role(unit.role)
    own = {
        "HOME": volumes.TMP,
        "PYTHONDONTWRITEBYTECODE": "1",
        "GRIDLOOM_JOB_ID": gang.job_id,
        "GRIDLOOM_ATTEMPT": str(gang.attempt),
        "GRIDLOOM_ROLE": role.name,
        "GRIDLOOM_REPLICA_INDEX": str(unit.log_index),
        "GRIDLOOM_REPLICAS": str(len(unit.known if unit.colocated else role.replicas)),
        "GRIDLOOM_NODE": unit.node,
        "GRIDLOOM_WORKDIR": volumes.workdir(role),
    }
    if "GRIDLOOM_ADDRESS" in gang.env:
        own["GRIDLOOM_ADDRESS"] = gang.env["GRIDLOOM_ADDRESS"]
    if plan.ca_secret:
        own["GRIDLOOM_TLS_CA_FILE"] = volumes.CA_FILE
    return own


def _command_environment(gang: Gang, unit: Unit, plan: PodPlan, hosts: str) -> dict[str, str]:
    """What a Python program prints is to be seen when it prints it; HOME may be the job's own."""
    own = _own_environment(gang, unit, plan)
    if unit.colocated:
        own["GRIDLOOM_REPLICAS_FILE"] = f"{volumes.RUN}/replicas"
        own["GRIDLOOM_REPORT_FILE"] = f"{volumes.RUN}/report"
    if hosts:
        own[HOSTS_VARIABLE] = hosts
    defaults = {"HOME": volumes.TMP, "PYTHONUNBUFFERED": "1"}
    given = {**defaults, **gang.env, **gang.role(unit.role).env}
    platform = {key: value for key, value in own.items() if key.startswith("GRIDLOOM_")}
    return {**given, **platform}


def _environment_list(env: Mapping[str, str], gang: Gang) -> list[Manifest]:
    entries: list[Manifest] = [{"name": key, "value": escaped(env[key])} for key in sorted(env)]
    if gang.token:
        reference = {"name": names.token_name(gang.name), "key": TOKEN_KEY}
        entries.append({"name": "GRIDLOOM_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return entries


def _secret_environment(role: GangRole) -> list[Manifest]:
    """Return secrets by reference: the cluster fills in what nobody here has seen."""
    return [
        {
            "name": each.target,
            "valueFrom": {"secretKeyRef": {"name": each.name, "key": each.key}},
        }
        for each in role.secrets
        if not each.target.startswith("/")
    ]
