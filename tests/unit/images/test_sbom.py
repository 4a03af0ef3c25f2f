"""What an image holds, as CycloneDX."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from services.images.sbom import bill

if TYPE_CHECKING:
    from pathlib import Path

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: tzdata
Status: install ok installed
Architecture: all
Version: 1:2025b-0+deb12u1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME="Debian"\nVERSION_ID="12"\n')
    return tmp_path


def test_a_folders_installed_debian_packages_are_named(root: Path):
    found = bill("front", "1.2", root)
    assert [component["purl"] for component in found["components"]] == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12",
        "pkg:deb/debian/tzdata@1%3A2025b-0%2Bdeb12u1?arch=all&distro=debian-12",
    ]
    assert found["metadata"]["component"]["bom-ref"] == "front@1.2"


def test_this_interpreters_packages_are_named_with_what_they_need():
    found = bill("platform", "1.2")
    grpcio = f"pkg:pypi/grpcio@{version('grpcio')}"
    assert grpcio in {component["purl"] for component in found["components"]}
    needs = {each["ref"]: each["dependsOn"] for each in found["dependencies"]}
    assert grpcio in needs[f"pkg:pypi/grpcio-status@{version('grpcio-status')}"]


@pytest.mark.slow
def test_references_are_unique_and_lead_somewhere():
    found = bill("platform", "1.2")
    names = [component["bom-ref"] for component in found["components"]]
    assert len(names) == len(set(names))
    wanted = {name for each in found["dependencies"] for name in each["dependsOn"]}
    assert wanted <= set(names)


@pytest.mark.slow
def test_the_same_content_gives_the_same_bytes(root: Path):
    assert json.dumps(bill("front", "1.2", root)) == json.dumps(bill("front", "1.2", root))
    assert bill("front", "1.2", root)["serialNumber"] != bill("front", "1.3", root)["serialNumber"]
