"""Each image by itself: no root, no writing beside its modules, and what is in it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.images.build import SERVICES, Image, every_image, own_python
from tests.e2e.machine.run import run, succeeds
from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.cluster.cluster import Cluster

_IMAGES = {image.target: image for image in every_image([own_python()])}
_MB = 10**6
_LARGEST = 250 * _MB
# No network, no root file system to write to, no capability: more than a cluster's rules ask.
_BOUNDS = (
    *("--network", "none", "--read-only", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--tmpfs", "/tmp:mode=1777"),
)
# Outside of a cluster nobody ends TLS in front of a service: it says no to an address of the world.
_ADDRESSES = (
    *("-e", "GRIDLOOM_HOST=127.0.0.1"),
    *("-e", "GRIDLOOM_SCHEDULER_ADDRESS=127.0.0.1:1", "-e", "GRIDLOOM_OBJECTS_ADDRESS=127.0.0.1:1"),
    *("-e", "GRIDLOOM_FUNCTIONS_ADDRESS=127.0.0.1:1", "-e", "GRIDLOOM_MPI_ADDRESS=127.0.0.1:1"),
)
_HEALTH = """
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
with grpc.insecure_channel("127.0.0.1:50051") as channel:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
assert answer.status == health_pb2.HealthCheckResponse.SERVING, answer
"""


@pytest.fixture
def container(request: pytest.FixtureRequest, cluster: Cluster, images: list[str]) -> Iterator[str]:
    """The image of the parameter, running as it is meant to."""
    if not cluster.ours:
        pytest.skip("the images are not of this machine's docker")
    name = _IMAGES[request.param].name
    started = run(["docker", "run", "--detach", *_BOUNDS, *_ADDRESSES, name]).strip()
    yield started
    run(["docker", "rm", "--force", started])


@pytest.mark.parametrize("container", SERVICES, indirect=True)
def test_a_service_answers_as_nobody_on_a_file_system_that_is_read_only(container: str):
    ask = ["docker", "exec", container, "python", "-c", _HEALTH]
    eventually_now(lambda: succeeds(ask))
    assert run(["docker", "exec", container, "id", "-u"]).strip() == "65532"
    assert not succeeds(["docker", "exec", container, "touch", "/opt/gridloom/new"])


@pytest.mark.parametrize("container", ["front"], indirect=True)
def test_the_front_answers_so_too(container: str):
    eventually_now(lambda: _listens(container))
    assert run(["docker", "exec", container, "id", "-u"]).strip() == "65532"


def _listens(container: str) -> bool:
    """Port 9090, as the kernel writes it."""
    return succeeds(["docker", "exec", container, "grep", "-q", ":2382 ", "/proc/net/tcp"])


@pytest.mark.parametrize("target", [*SERVICES, "front"])
def test_a_service_is_small_and_says_what_it_is(images: list[str], target: str):
    image = _IMAGES[target]
    [found] = json.loads(run(["docker", "image", "inspect", image.name]))
    assert found["Size"] < _LARGEST
    assert found["Config"]["User"] == "65532:65532"
    assert found["Config"]["Labels"]["org.opencontainers.image.version"] in image.name


@pytest.mark.parametrize("target", [*SERVICES, "front", "worker"])
def test_a_bill_of_materials_is_in_the_image(images: list[str], target: str):
    assert _names_in(_IMAGES[target]) >= {"libc6"}


def _names_in(image: Image) -> set[str]:
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "cat"]
    words = run([*command, image.name, "/opt/gridloom/sbom.cdx.json"])
    bill = json.loads(words)
    assert bill["bomFormat"] == "CycloneDX"
    return {component["name"] for component in bill["components"]}
