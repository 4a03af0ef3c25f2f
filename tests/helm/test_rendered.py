"""What helm makes of three typical sets of values: lint, the golden files, what differs and why.

After a change that is meant: UPDATE_GOLDEN=1 pytest tests/helm, and read the difference.
"""

import os
import re
from pathlib import Path

import pytest

from tests.support import chart
from tests.support.chart import EXAMPLES, example, manifests, named, of_kind, setting

pytestmark = pytest.mark.helm

GOLDEN = Path(__file__).parent / "golden"
# Spoken between the pods of one gang; the platform does not answer to it.
AMONG_RANKS = {"gridloom.api.mpi.v1.RankAgentService"}


def without_chance(text):
    """Keys, passwords and certificates are made anew each time."""
    keys = r"secret|admin-key|password|url|ca\.crt|ca\.key|tls\.crt|tls\.key"
    made = rf"(?m)^(  (?:{keys})): [A-Za-z0-9+/=]{{24,}}$"
    return re.sub(made, r"\1: (made at the first install)", text)


@pytest.mark.parametrize("name", ["", *EXAMPLES])
def test_lint_has_nothing_to_say(name):
    done = chart.helm("lint", "--strict", str(chart.CHART), *example(name))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", EXAMPLES)
def test_manifests_are_the_golden_ones(name):
    path = GOLDEN / f"{name}.yaml"
    rendered = without_chance(chart.text(*example(name)))
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(rendered, encoding="utf-8")
    assert rendered == path.read_text(encoding="utf-8")


def test_the_examples_are_the_three_typical_ones():
    assert EXAMPLES == ["air-gapped", "laptop", "production"]


def test_every_object_is_labelled_and_named_after_the_release():
    for name in EXAMPLES:
        for found in manifests(*example(name)):
            labels = found["metadata"]["labels"]
            assert labels["app.kubernetes.io/instance"] == "gridloom"
            assert labels["app.kubernetes.io/component"]
            assert "gridloom" in found["metadata"]["name"]
            assert len(found["metadata"]["name"]) <= 63


def test_no_two_objects_are_the_same():
    found = [(m["kind"], m["metadata"]["name"]) for m in manifests(*example("production"))]
    assert len(found) == len(set(found))


def test_a_change_of_settings_starts_the_service_anew_and_no_other():
    before, after = manifests(), manifests(*setting(functions__settings__workers=3))
    changed = {
        old["metadata"]["name"]
        for old, new in zip(before, after, strict=True)
        if old["kind"] == "Deployment" and old["spec"] != new["spec"]
    }
    assert changed == {"gridloom-functions"}


def test_large_numbers_keep_their_digits():
    words = setting(scheduler__settings__log_limit_bytes=268435456)
    data = named("ConfigMap", "scheduler", *words)["data"]
    assert data["GRIDLOOM_SCHEDULER_LOG_LIMIT_BYTES"] == "268435456"


def test_an_upgrade_of_the_chart_alone_leaves_postgresql_running():
    labels = named("StatefulSet", "postgresql")["spec"]["template"]["metadata"]["labels"]
    assert not {"helm.sh/chart", "app.kubernetes.io/version"} & labels.keys()


def test_a_given_database_leaves_postgresql_out():
    rendered = chart.text(*setting(postgresql__enabled=False, database__existingSecret="mine"))
    assert "postgresql:" not in rendered
    assert "StatefulSet" not in rendered


def test_disruption_budgets_are_for_what_has_several_replicas():
    assert of_kind("PodDisruptionBudget") == []
    for component in ("front", "mpi"):
        (budget,) = of_kind("PodDisruptionBudget", *setting(**{f"{component}__replicas": 2}))
        selector = budget["spec"]["selector"]["matchLabels"]
        assert selector["app.kubernetes.io/component"] == component


def test_what_is_scaled_by_use_has_no_count_of_its_own():
    front = named("Deployment", "front", *example("production"))
    assert "replicas" not in front["spec"]
    scalers = of_kind("HorizontalPodAutoscaler", *example("production"))
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in scalers}
    assert scaled == {"gridloom-front", "gridloom-mpi"}


def test_a_service_that_keeps_nothing_has_no_way_to_the_database():
    (container,) = named("Deployment", "mpi")["spec"]["template"]["spec"]["containers"]
    assert "env" not in container
    rules = named("NetworkPolicy", "mpi")["spec"]["egress"]
    assert {"port": 5432} not in [port for rule in rules for port in rule["ports"]]
    assert named("Deployment", "mpi")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_one_host_name_leads_to_all_grpc_services():
    (route,) = of_kind("GRPCRoute", *example("production"))
    by_gateway = {m["method"]["service"] for r in route["spec"]["rules"] for m in r["matches"]}
    (ingress,) = of_kind("Ingress", *example("air-gapped"))
    paths = ingress["spec"]["rules"][0]["http"]["paths"]
    protos = (chart.ROOT / "proto").rglob("*.proto")
    services = {
        f"{package[1]}.{service}"
        for proto in protos
        for text in [proto.read_text(encoding="utf-8")]
        for package in [re.search(r"^package (.*);", text, re.MULTILINE)]
        for service in re.findall(r"^service (\w+)", text, re.MULTILINE)
    }
    services -= AMONG_RANKS
    health = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert by_gateway == services | health
    assert {path["path"].removeprefix("/") for path in paths} == by_gateway


def test_migrations_run_before_an_upgrade_and_where_a_database_is_given_before_an_install():
    own = named("Job", "migrations")["metadata"]["annotations"]["helm.sh/hook"]
    given = named("Job", "migrations", *example("production"))["metadata"]["annotations"]
    assert own == "pre-upgrade"
    assert given["helm.sh/hook"] == "pre-install,pre-upgrade"


def test_migrations_before_an_install_need_nothing_that_the_chart_makes_later():
    spec = named("Job", "migrations", *example("production"))["spec"]["template"]["spec"]
    assert "serviceAccountName" not in spec
    assert [list(volume) for volume in spec["volumes"]] == [["name", "emptyDir"]]
    secrets = {
        env["valueFrom"]["secretKeyRef"]["name"]
        for container in spec["containers"]
        for env in container["env"]
        if "valueFrom" in env
    }
    assert secrets == {"gridloom-database"}
