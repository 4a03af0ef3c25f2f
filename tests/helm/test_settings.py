"""The services take what the chart tells them: their own loader reads it here."""

import dataclasses
from importlib import import_module

import pytest
from gridloom_services.common.settings import ServerSettings, load_server_settings, load_settings
from gridloom_services.scheduler.runtime.kubernetes.flavours import read_flavours

from tests.support.chart import EXAMPLES, SERVICES, environment, example, named, of_kind, setting

pytestmark = pytest.mark.helm

COMMON = {f"GRIDLOOM_{field.name.upper()}" for field in dataclasses.fields(ServerSettings)}


def own_settings(service, given):
    module = import_module(f"gridloom_services.{service}.settings")
    return load_settings(service, getattr(module, f"{service.capitalize()}Settings"), given)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("name", ["", *EXAMPLES])
def test_a_service_takes_its_environment(service, name):
    given = environment(service, *example(name))
    own_settings(service, given)
    settings = load_server_settings(service, given)
    assert settings.port == 50051
    assert settings.metrics_port == 9090


@pytest.mark.parametrize("service", SERVICES)
def test_no_variable_is_without_effect(service):
    others = {
        key for key in environment(service) if not key.startswith(f"GRIDLOOM_{service.upper()}_")
    }
    assert others - COMMON == set()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_knows_where_the_others_are(service):
    settings = load_server_settings(service, environment(service))
    assert settings.addresses.keys() == set(SERVICES) - {service}
    names = {found["metadata"]["name"] for found in of_kind("Service")}
    for address in settings.addresses.values():
        host, port = address.split(":")
        assert host.split(".")[0] in names
        assert port == "50051"


def test_values_reach_the_settings_of_their_service():
    words = setting(functions__settings__workers=3, objects__settings__retention_s=60.5)
    assert own_settings("functions", environment("functions", *words)).workers == 3
    assert own_settings("objects", environment("objects", *words)).retention_s == 60.5


def test_the_migrations_take_their_environment():
    spec = named("Job", "migrations")["spec"]["template"]["spec"]
    for container in spec["containers"]:
        given = {env["name"]: env.get("value", "postgresql://x/y") for env in container["env"]}
        assert given.keys() <= COMMON
        load_server_settings(container["name"], given)
        own_settings(container["name"], given)


def test_a_service_has_longer_to_end_than_it_takes():
    for service in SERVICES:
        spec = named("Deployment", service)["spec"]["template"]["spec"]
        grace = load_server_settings(service, environment(service)).grace_s
        assert spec["terminationGracePeriodSeconds"] > grace + 10


def test_a_start_may_take_as_long_as_it_waits_for_the_database():
    for service in SERVICES:
        (container,) = named("Deployment", service)["spec"]["template"]["spec"]["containers"]
        probe = container["startupProbe"]
        patience = load_server_settings(service, environment(service)).start_patience_s
        assert probe["failureThreshold"] * probe["periodSeconds"] >= patience + 30


def test_flavours_reach_the_runtime_as_it_reads_them():
    given = environment("scheduler", *example("production"))
    found = read_flavours(given["GRIDLOOM_SCHEDULER_KUBERNETES_FLAVOURS"])
    by_name = {flavour.name: flavour for flavour in found}
    assert by_name.keys() == {"a100", "cpu", "mig"}
    assert by_name["a100"].node_selector == {"pool": "a100"}
    assert [each["key"] for each in by_name["a100"].tolerations] == ["nvidia.com/gpu"]


def test_what_the_runtime_needs_is_rendered_beside_it():
    given = environment("scheduler", *setting(jobs__namespace="work"))
    prefix = "GRIDLOOM_SCHEDULER_KUBERNETES_"
    for kind, key in (("ConfigMap", "ANCHOR"), ("ServiceAccount", "SERVICE_ACCOUNT")):
        name = given[prefix + key].removeprefix("gridloom-")
        found = named(kind, name, *setting(jobs__namespace="work"))
        assert found["metadata"]["namespace"] == given[prefix + "NAMESPACE"] == "work"
    assert given[prefix + "WORKER_IMAGE"] == "gridloom/worker:0.1.0-py3.11"
    assert given[prefix + "OWN_IMAGES"] == "gridloom/worker"


def test_the_newest_python_is_found_by_number():
    words = setting(
        images__workers={
            "3.9": {"repository": "gridloom/worker"},
            "3.13": {"repository": "gridloom/worker"},
        }
    )
    given = environment("scheduler", *words)
    assert given["GRIDLOOM_SCHEDULER_KUBERNETES_WORKER_IMAGE"] == "gridloom/worker:0.1.0-py3.13"
