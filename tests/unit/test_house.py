"""The house is complete: a service that is forgotten in one of its places fails here."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SERVICES = sorted(path.parent.name for path in ROOT.glob("services/gridloom_services/*/app.py"))
for _other in ("common", "embedded"):  # the interface, and what composes the others
    SERVICES.remove(_other)


def test_the_services_of_today_are_known():
    assert SERVICES == ["functions", "mpi", "objects", "scheduler"]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "place",
    [
        "proto/gridloom/api/{}/v1",
        "clients/python/gridloom/api/{}/v1",
        "services/gridloom_services/{}/__main__.py",
        "services/gridloom_services/{}/settings.py",
        "services/gridloom_services/{}/service.py",
        "tests/unit/{}",
    ],
)
def test_a_service_has_all_of_its_places(service, place):
    assert (ROOT / place.format(service)).exists()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_its_room_in_the_chart(service):
    assert (ROOT / "helm/gridloom/templates" / service).is_dir()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_an_extra(service):
    assert service in PROJECT["project"]["optional-dependencies"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_bound_by_the_import_contracts(service):
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    independent = next(c for c in contracts if c["type"] == "independence")
    chassis = next(c for c in contracts if c["name"] == "The chassis knows no service")
    name = f"gridloom_services.{service}"
    assert name in independent["modules"]
    assert name in chassis["forbidden_modules"]


def test_every_contract_of_the_wire_has_its_stubs():
    for proto in (ROOT / "proto").rglob("*.proto"):
        inside = proto.relative_to(ROOT / "proto")
        stub = ROOT / "clients/python" / inside.with_name(f"{inside.stem}_pb2.py")
        assert stub.exists(), f"{inside} has no stubs: make proto"


def test_the_two_distributions_have_one_version():
    sdk = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text(encoding="utf-8"))
    version = PROJECT["project"]["version"]
    assert sdk["project"]["version"] == version
    assert f"gridloom=={version}" in PROJECT["project"]["dependencies"]


def test_nothing_else_has_moved_in_at_the_top():
    rooms = {"clients", "helm", "kernels", "proto", "services", "tests"}
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
    assert folders - rooms <= {"build", "dist"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_a_block_of_values_an_image_and_a_build_target(service):
    values = (ROOT / "helm/gridloom/values.yaml").read_text(encoding="utf-8")
    dockerfile = (ROOT / "services/Dockerfile").read_text(encoding="utf-8")
    assert f"\n{service}:\n" in values
    assert f"  {service}: {{repository: gridloom/{service}," in values
    assert f" AS {service}\n" in dockerfile
