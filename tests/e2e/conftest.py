"""One cluster, one installation, for all scenarios: `make e2e`."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import gridloom
import pytest

from tests.e2e.cluster import cluster as clusters
from tests.e2e.images.build import build, every_image, own_python
from tests.e2e.images.wheelhouse import demo_packages
from tests.e2e.support import pools
from tests.e2e.support.release import Release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom.client import Client

    from tests.e2e.cluster.cluster import Cluster

_A_TEST_S = 600
# What is long and rare has a verb of its own.
collect_ignore = [] if os.environ.get("E2E_FIGURES") else ["figures"]
_LAST = "test_uninstall.py"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: needs a cluster; `make e2e` runs it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.e2e)
        # The first test does not answer for the making of the cluster.
        item.add_marker(pytest.mark.timeout(_A_TEST_S, func_only=True))
    items.sort(key=lambda item: item.path.name == _LAST)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of one control plane and two workers; gone afterwards unless KEEP is set."""
    try:
        found = clusters.up()
        pools.label(found)
        yield found
    finally:
        if not os.environ.get("KEEP"):
            clusters.down()


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> list[str]:
    """All images where their pods run; a worker's has what the demo imports."""
    if os.environ.get("E2E_IMAGES") == "present":
        found = every_image([own_python()])
    else:
        found = build(worker_packages=demo_packages())
    everywhere = [image.name for image in found if image.target == "worker"]
    others = [image.name for image in found if image.target != "worker"]
    # The second worker keeps out what does not ask for GPUs.
    first, *rest = cluster.workers()
    with ThreadPoolExecutor() as side_by_side:
        loading = [side_by_side.submit(cluster.load, [*others, *everywhere], [first])]
        loading += [side_by_side.submit(cluster.load, everywhere, [node]) for node in rest]
    for each in loading:
        each.result()
    return [*others, *everywhere]


@pytest.fixture(scope="session")
def release(cluster: Cluster, images: list[str]) -> Iterator[Release]:
    """The platform, installed by helm and ready."""
    release = Release(cluster)
    release.install()
    yield release
    if not os.environ.get("KEEP"):
        release.uninstall()


@pytest.fixture
def client(release: Release) -> Iterator[Client]:
    """A client of an administrator, outside the cluster."""
    with gridloom.connect(release.address, api_key=release.admin_key()) as client:
        yield client
