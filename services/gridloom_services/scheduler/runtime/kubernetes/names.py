"""What the objects of a gang are called, and how they are found again."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gridloom_services.scheduler.runtime.units import Unit

_LONGEST = 63
_HASH = 8

MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
# On every object of a gang. Values of labels may be 63 characters long; the annotation has it all.
GANG = "gridloom.io/gang"
JOB = "gridloom.io/job"
ROLE = "gridloom.io/role"
# Annotations of a pod: whose it is, and what its sidecar is asked for while it runs.
UNIT = "gridloom.io/unit"
STOP = "gridloom.io/stop"
REPLICAS = "gridloom.io/replicas"

OURS = {MANAGED_BY: "gridloom", COMPONENT: "job"}
SELECTOR = ",".join(f"{key}={value}" for key, value in OURS.items())


def dns_name(gang: str) -> str:
    """Return the name of the gang's objects: letters, digits and dashes, 63 at most.

    "job_x.7-a1" is "job-x-7-a1". Job ids have no dashes, so two gangs never share a name.
    """
    plain = re.sub(r"[^a-z0-9-]", "-", gang.lower())
    if len(plain) <= _LONGEST and plain[:1].isalpha() and not plain.endswith("-"):
        return plain
    digest = hashlib.sha256(gang.encode()).hexdigest()[:_HASH]
    return f"g-{plain.strip('-')[: _LONGEST - _HASH - 3].strip('-')}-{digest}"


def pod_name(gang: str, unit: Unit) -> str:
    """Return the name of a unit's pod."""
    return f"{dns_name(gang)}-{host_name(unit)}"


def host_name(unit: Unit) -> str:
    """Return what the unit's pod is called among the gang's: "main-0"."""
    return f"{unit.role}-{unit.log_index}"


def host_address(gang: str, unit: Unit) -> str:
    """Return by what name the pods of a gang with a Service reach this one: "main-0.job-x-a1"."""
    return f"{host_name(unit)}.{dns_name(gang)}"


def token_name(gang: str) -> str:
    """Return the name of the secret that holds the gang's token."""
    return f"{dns_name(gang)}-token"


def label_value(text: str) -> str:
    """Return the text as the value of a label, cut where it is too long."""
    return text[:_LONGEST].rstrip("-_.")
