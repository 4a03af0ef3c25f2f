"""The list of images for air-gapped sites is what the chart runs."""

import pytest

from tests.support.chart import CHART, environment, example, pod_specs

pytestmark = pytest.mark.helm


def rendered(*words):
    """Every image that a pod of the platform or of a worker runs."""
    containers = {
        container["image"]
        for _, spec in pod_specs(*words)
        for container in spec["containers"] + spec.get("initContainers", [])
    }
    pairs = environment("functions", *words)["GRIDLOOM_FUNCTIONS_WORKER_IMAGES"].split(",")
    return containers | {pair.partition("=")[2] for pair in pairs}


def test_the_list_is_what_renders():
    lines = (CHART / "images.txt").read_text(encoding="utf-8").splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    assert listed == sorted(rendered())


def test_an_air_gapped_site_pulls_from_its_mirror_alone_and_by_digest():
    for image in rendered(*example("air-gapped")):
        assert image.startswith("registry.internal:5000/mirror/")
        assert "@sha256:" in image


def test_pull_secrets_are_everywhere():
    for _, spec in pod_specs(*example("air-gapped")):
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
