#!/usr/bin/env python3
"""`sbom.py NAME VERSION [ROOT]`: what an image holds, as CycloneDX JSON.

Python's and Debian's packages of the image that it runs in; with ROOT, Debian's in that folder. It
needs nothing but the standard library, and the same content gives the same bytes.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution

_DPKG = "var/lib/dpkg/status"
_RELEASE = "etc/os-release"
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def bill(name: str, of_version: str, root: Path | None = None) -> dict[str, Any]:
    """The whole document."""
    python = [] if root else sorted(_python_packages(), key=_order)
    debian = sorted(_debian_packages(root or Path("/")), key=_order)
    components = [*python, *debian]
    seed = json.dumps([name, of_version, components], sort_keys=True)
    top = f"{name}@{of_version}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, seed)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": top,
                "name": name,
                "version": of_version,
            }
        },
        "components": components,
        "dependencies": [
            {"ref": top, "dependsOn": [each["bom-ref"] for each in components]},
            *_python_dependencies({each["bom-ref"] for each in python}),
        ],
    }


def _order(component: dict[str, Any]) -> str:
    return str(component["bom-ref"])


def _python_packages() -> Iterator[dict[str, Any]]:
    for found in _installed():
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": _reference(found),
            "name": found.metadata["Name"],
            "version": found.version,
            "purl": _reference(found),
        }
        if "Summary" in found.metadata:
            component["description"] = found.metadata["Summary"]
        if "License-Expression" in found.metadata:
            component["licenses"] = [{"expression": found.metadata["License-Expression"]}]
        yield component


def _python_dependencies(known: set[str]) -> Iterator[dict[str, Any]]:
    for found in sorted(_installed(), key=_reference):
        wanted = {_reference_by_name(words) for words in found.requires or ()}
        yield {"ref": _reference(found), "dependsOn": sorted(known & wanted)}


def _installed() -> list[Distribution]:
    """One of each: a folder may be on the path under two names."""
    return list({_reference(found): found for found in distributions()}.values())


def _reference(found: Distribution) -> str:
    name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
    return f"pkg:pypi/{name}@{found.version}"


def _reference_by_name(requirement: str) -> str:
    found = _REQUIREMENT.match(requirement)
    assert found is not None
    name = re.sub(r"[-_.]+", "-", found[0]).lower()
    try:
        return f"pkg:pypi/{name}@{version(name)}"
    except PackageNotFoundError:
        return ""


def _debian_packages(root: Path) -> Iterator[dict[str, Any]]:
    status = root / _DPKG
    if not status.exists():
        return
    release = _release(root / _RELEASE)
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            yield _debian_package(fields, release)


def _debian_package(fields: dict[str, str], release: str) -> dict[str, Any]:
    name, of_version = fields["Package"], fields["Version"]
    reference = (
        f"pkg:deb/debian/{name}@{of_version.replace(':', '%3A').replace('+', '%2B')}"
        f"?arch={fields['Architecture']}&distro=debian-{release}"
    )
    return {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": of_version,
        "purl": reference,
    }


def _release(file: Path) -> str:
    found = re.search(r'^VERSION_ID="?([^"\n]+)', file.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "unknown"


if __name__ == "__main__":
    _root = Path(sys.argv[3]) if len(sys.argv) > 3 else None  # noqa: PLR2004
    sys.stdout.write(json.dumps(bill(sys.argv[1], sys.argv[2], _root), indent=1) + "\n")
