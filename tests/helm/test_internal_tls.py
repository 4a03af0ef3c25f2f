"""TLS between the services: who holds the certificate, who comes in without one, and where."""

import base64

import pytest
from cryptography import x509
from gridloom_services.common.settings import load_server_settings

from tests.support.chart import (
    EXAMPLES,
    SERVICES,
    environment,
    example,
    named,
    of_kind,
    pod_specs,
    setting,
)

pytestmark = pytest.mark.helm

OFF = setting(tls__internal__mode="off")


def container(component, *words):
    return named("Deployment", component, *words)["spec"]["template"]["spec"]["containers"][0]


def ports(found):
    return {port["name"]: port["containerPort"] for port in found["ports"]}


def backends(*words):
    """Whom a gateway or an Ingress calls, with the port."""
    for route in of_kind("GRPCRoute", *words):
        for rule in route["spec"]["rules"]:
            yield from ((each["name"], each["port"]) for each in rule["backendRefs"])
    for ingress in of_kind("Ingress", *words):
        for path in ingress["spec"]["rules"][0]["http"]["paths"]:
            service = path["backend"]["service"]
            yield service["name"], service["port"]["number"]


@pytest.mark.parametrize("name", ["", *EXAMPLES])
def test_services_ask_whoever_calls_for_a_certificate_of_theirs(name):
    for service in SERVICES:
        settings = load_server_settings(service, environment(service, *example(name)))
        assert settings.tls_require_client
        assert not settings.allow_plaintext
        assert settings.tls_ca_file == settings.tls_cert_file.with_name("ca.crt")


@pytest.mark.parametrize("name", ["", *EXAMPLES])
def test_services_and_the_front_alone_hold_that_certificate(name):
    secret = {"air-gapped": "gridloom-services"}.get(name, "gridloom-internal")
    holders = {
        whose
        for whose, spec in pod_specs(*example(name))
        for volume in spec["volumes"]
        if volume.get("secret", {}).get("secretName") == secret
    }
    assert holders == {f"Deployment gridloom-{each}" for each in (*SERVICES, "front")}


@pytest.mark.parametrize("name", ["", *EXAMPLES])
def test_nobody_holds_an_authoritys_key(name):
    for _, spec in pod_specs(*example(name)):
        for volume in spec["volumes"]:
            assert not volume.get("secret", {}).get("secretName", "").endswith("authority")
            items = volume.get("secret", {}).get("items", ())
            assert "ca.key" not in {item["key"] for item in items}


def test_the_certificate_is_good_for_the_names_that_services_call():
    data = named("Secret", "internal")["data"]
    made = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    called = {
        address.partition(":")[0]
        for service in SERVICES
        for address in load_server_settings(service, environment(service)).addresses.values()
    }
    assert called <= set(names.get_values_for_type(x509.DNSName))
    (managed,) = (
        each
        for each in of_kind("Certificate", *example("production"))
        if each["metadata"]["name"] == "gridloom-internal"
    )
    assert called <= set(managed["spec"]["dnsNames"])
    assert {"server auth", "client auth"} <= set(managed["spec"]["usages"])


@pytest.mark.parametrize("words", [(), OFF])
def test_the_kubelet_asks_for_health_where_there_is_nothing_else(words):
    for service in SERVICES:
        found = container(service, *words)
        port = int(environment(service, *words)["GRIDLOOM_HEALTH_PORT"])
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert found[probe]["grpc"] == {"port": port}
        assert ports(found)["health"] == port != ports(found)["grpc"]


@pytest.mark.parametrize("words", [(), OFF])
def test_workers_come_in_where_no_certificate_is_asked_for(words):
    given = environment("functions", *words)
    port = int(given["GRIDLOOM_FUNCTIONS_WORKER_ADDRESS"].rpartition(":")[2])
    assert port == int(given.get("GRIDLOOM_INNER_PORT", given["GRIDLOOM_PORT"]))
    (name,) = [name for name, each in ports(container("functions", *words)).items() if each == port]
    service = named("Service", "functions", *words)["spec"]["ports"]
    assert {"port": port, "targetPort": name}.items() <= {
        key: value for each in service if each["name"] == name for key, value in each.items()
    }.items()
    for policy, way in (("functions", "ingress"), ("job", "egress")):
        rules = named("NetworkPolicy", policy, *words)["spec"][way]
        assert [{"port": name}] in [rule.get("ports") for rule in rules]


@pytest.mark.parametrize("name", ["production", "air-gapped"])
def test_a_gateway_comes_in_by_the_front(name):
    assert set(backends(*example(name))) == {("gridloom-inner", 50051)}
    gateways = {"namespaceSelector", "from"}
    for service in SERVICES:
        for rule in named("NetworkPolicy", service, *example(name))["spec"]["ingress"]:
            if {"port": "grpc"} in rule["ports"]:
                assert not any(gateways & each.keys() for each in rule["from"])
    rules = named("NetworkPolicy", "front", *example(name))["spec"]["ingress"]
    (inner,) = [rule for rule in rules if {"port": "inner"} in rule["ports"]]
    assert [each for each in inner["from"] if "podSelector" not in each]


@pytest.mark.parametrize("name", ["production", "air-gapped"])
def test_where_services_speak_in_clear_a_gateway_calls_them_itself(name):
    words = (*example(name), *OFF)
    assert set(backends(*words)) == {(f"gridloom-{each}", 50051) for each in SERVICES}
    assert environment("objects", *words)["GRIDLOOM_ALLOW_PLAINTEXT"] == "true"
    assert "GRIDLOOM_FRONT_SERVICES_CA_FILE" not in environment("front", *words)


def test_the_job_of_the_projects_comes_in_by_the_front():
    (job,) = (
        each
        for each in of_kind("Job", *example("production"))
        if each["metadata"]["name"].endswith("projects")
    )
    env = {e["name"]: e["value"] for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["GRIDLOOM_ADDRESS"] == "http://gridloom-inner.gridloom.svc:50051"
