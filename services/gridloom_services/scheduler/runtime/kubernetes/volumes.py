"""What a unit's containers find where.

/gridloom/work    the working folder, unless the role names one
/gridloom/run     the command's streams, its process number, what its sidecar and it exchange
/gridloom/bin     a shell for images that have none
/gridloom/gang    the gang's record, for staging
/gridloom/orders  what the sidecar is asked for
/gridloom/ca      whom to trust as the platform
/tmp              to write to
/dev/shm          memory that replicas in one pod share
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.manifests import GANG_KEY, Manifest

if TYPE_CHECKING:
    from gridloom_services.scheduler.runtime.base import Gang, GangRole
    from gridloom_services.scheduler.runtime.kubernetes.plan import PodPlan
    from gridloom_services.scheduler.runtime.units import Unit

WORK = "/gridloom/work"
RUN = "/gridloom/run"
BIN = "/gridloom/bin"
GANG = "/gridloom/gang"
ORDERS = "/gridloom/orders"
SHM = "/dev/shm"  # noqa: S108 - shared among the pod's own replicas
CA = "/gridloom/ca"
CA_FILE = f"{CA}/ca.crt"
TMP = "/tmp"  # noqa: S108 - an emptyDir of the pod's own


def workdir(role: GangRole) -> str:
    """Return the folder that the command starts in."""
    return role.workdir or WORK


def needs_work_volume(role: GangRole) -> bool:
    """Say whether the working folder is a volume of its own.

    It is unless it lies in a claim; or is a folder of the image, which then nothing is brought
    into or out of.
    """
    folder = PurePosixPath(workdir(role))
    if any(folder.is_relative_to(volume.mount_path) for volume in role.volumes):
        return False
    return not role.workdir or bool(role.files or role.outputs)


def needs_staging(role: GangRole, plan: PodPlan) -> bool:
    """Say whether something has to be there before the sidecar and the command begin."""
    return bool(role.files) or not plan.is_own(role.image)


def pod_volumes(gang: Gang, unit: Unit, plan: PodPlan) -> list[Manifest]:
    """Return the volumes of a unit's pod."""
    role = gang.role(unit.role)
    volumes: list[Manifest] = [_empty("run"), _empty("tmp"), _orders()]
    if needs_work_volume(role):
        volumes.append(_empty("work"))
    if unit.colocated:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
    if needs_staging(role, plan):
        record = {"name": names.dns_name(gang.name), "items": [{"key": GANG_KEY, "path": GANG_KEY}]}
        volumes += [_empty("bin"), {"name": "gang", "configMap": record}]
    if plan.ca_secret:
        secret = {"secretName": plan.ca_secret, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        volumes.append({"name": "ca", "secret": secret})
    return volumes + _claims(role) + _secrets(role)


def _empty(name: str) -> Manifest:
    return {"name": name, "emptyDir": {}}


def _orders() -> Manifest:
    """Return annotations of the pod as files, which change soon after the pod does."""
    items = [
        {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{key}']"}}
        for path, key in (("stop", names.STOP), ("replicas", names.REPLICAS))
    ]
    return {"name": "orders", "downwardAPI": {"items": items}}


def _claims(role: GangRole) -> list[Manifest]:
    claims = dict.fromkeys(volume.claim for volume in role.volumes)
    return [
        {"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": claim}}
        for number, claim in enumerate(claims)
    ]


def _secrets(role: GangRole) -> list[Manifest]:
    return [
        {"name": f"secret-{number}", "secret": {"secretName": name, "defaultMode": 0o440}}
        for number, name in enumerate(_file_secrets(role))
    ]


def _file_secrets(role: GangRole) -> list[str]:
    return list(dict.fromkeys(each.name for each in role.secrets if each.target.startswith("/")))


def user_mounts(role: GangRole) -> list[Manifest]:
    """Return the mounts that the role asks for: claims, and secrets as files."""
    claims = list(dict.fromkeys(volume.claim for volume in role.volumes))
    secrets = _file_secrets(role)
    return [
        {
            "name": f"claim-{claims.index(volume.claim)}",
            "mountPath": volume.mount_path,
            "readOnly": volume.read_only,
        }
        for volume in role.volumes
    ] + [
        {
            "name": f"secret-{secrets.index(each.name)}",
            "mountPath": each.target,
            "subPath": each.key,
            "readOnly": True,
        }
        for each in role.secrets
        if each.target.startswith("/")
    ]


def common_mounts(role: GangRole, plan: PodPlan) -> list[Manifest]:
    """Return the mounts of every container of ours and of the command's."""
    mounts: list[Manifest] = [{"name": "tmp", "mountPath": TMP}]
    if needs_work_volume(role):
        mounts.append({"name": "work", "mountPath": workdir(role)})
    if plan.ca_secret:
        mounts.append({"name": "ca", "mountPath": CA, "readOnly": True})
    return mounts
