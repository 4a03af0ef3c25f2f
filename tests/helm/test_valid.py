"""Kubernetes takes what the chart renders: by its schemas, and by an API server's own word."""

import json
import os
import shutil
import subprocess

import pytest

from tests.support import chart, openapi
from tests.support.chart import EXAMPLES, example, manifests, setting, text

KUBECONFORM = chart.tool("kubeconform")
KUBECTL = shutil.which("kubectl")
KUBECONFIG = os.environ.get("E2E_KUBECONFIG", "")
# Kinds that a plain cluster does not have.
FOREIGN = {"GRPCRoute", "Certificate", "ServiceMonitor", "PodMonitor"}
EVERY = ["", *EXAMPLES]

pytestmark = pytest.mark.helm


@pytest.fixture(scope="session")
def schemas(tmp_path_factory):
    source = openapi.documents()
    if KUBECONFORM is None or source is None:
        pytest.skip("kubeconform or Kubernetes' OpenAPI documents are not on this machine")
    kinds = {(m["apiVersion"], m["kind"]) for name in EVERY for m in manifests(*example(name))}
    folder = tmp_path_factory.mktemp("schemas")
    openapi.write_schemas(source, folder, kinds)
    return folder


def conform(schemas, stdin):
    location = f"{schemas}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    skipped = ",".join(sorted(FOREIGN))
    words = ["-strict", "-output", "json", "-summary", "-skip", skipped]
    command = [KUBECONFORM, *words, "-schema-location", location]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", EVERY)
def test_manifests_have_the_shape_of_their_kinds(schemas, name):
    said = conform(schemas, text(*example(name)))
    assert said.get("resources", []) == []
    assert said["summary"]["valid"] > 30


def test_the_check_sees_a_key_that_does_not_exist(schemas):
    wrong = text(*example("laptop")).replace("terminationGracePeriodSeconds", "terminationGrace")
    assert conform(schemas, wrong)["summary"]["invalid"] > 0


@pytest.fixture(scope="session")
def namespace():
    if not KUBECONFIG or KUBECTL is None:
        pytest.skip("E2E_KUBECONFIG names no cluster")
    name = f"gridloom-dry-run-{os.getpid()}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def kubectl(*words, stdin=None):
    command = [str(KUBECTL), "--kubeconfig", KUBECONFIG, *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def known(found):
    return found["kind"] not in FOREIGN


@pytest.mark.parametrize("name", EVERY)
def test_an_api_server_would_take_them(namespace, name):
    words = (*example(name), "--namespace", namespace)
    wanted = [found for found in manifests(*words) if known(found)]
    stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
    said = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=stdin)
    assert len(said.splitlines()) == len(wanted)


def test_an_api_server_would_take_the_autoscaler_and_a_budget(namespace):
    words = (*setting(front__autoscaling__enabled=True), "--namespace", namespace)
    kinds = {"HorizontalPodAutoscaler", "PodDisruptionBudget"}
    items = [found for found in manifests(*words) if found["kind"] in kinds]
    assert {found["kind"] for found in items} == kinds
    stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=stdin)
