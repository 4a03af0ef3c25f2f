"""The services take what the chart tells them: their own loader reads it here."""

import dataclasses
from importlib import import_module

import pytest
from gridloom_services.common.settings import ServerSettings, load_server_settings, load_settings

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
