"""The demo's k-means, and what its last stage says where there is no MPI."""

from __future__ import annotations

import numpy as np
import pytest
from gridloom.api.objects.v1 import objects_pb2
from gridloom.client import Client
from gridloom.locate import FixedAddress, Place
from gridloom.worker.mpi.implementations import NotHereError, find_launcher
from gridloom_services.demo import clustering
from gridloom_services.demo.clustering import NoMpiError, clustered, widths
from gridloom_services.demo.programs import clusters

from tests.support.scripted import ScriptedPlatform


class Alone:
    """The communicator of one rank."""

    def Get_size(self) -> int:  # noqa: N802  # as mpi4py has it
        return 1

    def Get_rank(self) -> int:  # noqa: N802
        return 0

    def Allreduce(self, mine, together) -> None:  # noqa: N802
        together[:] = mine


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Ten heaps of points, far apart."""
    lots = np.random.default_rng(1)
    labels = np.repeat(np.arange(10), 20)
    return 100.0 * np.eye(10)[labels] + lots.normal(size=(200, 10)), labels


def test_heaps_that_are_far_apart_are_found():
    images, labels = blobs()
    centres, loss = clusters.kmeans(Alone(), images)
    assert clusters.purity(images, labels, centres) >= 0.9
    assert loss == pytest.approx(clusters.nearest(images, centres).min(axis=1).sum())


def test_the_widths_are_those_that_there_is_room_for():
    assert [widths(most) for most in (0, 1, 2, 3, 8, 64)] == [
        [1],
        [1],
        [1, 2],
        [1, 2],
        [1, 2, 4, 8],
        [1, 2, 4, 8],
    ]


def _all_there(request: objects_pb2.StatObjectsRequest) -> objects_pb2.StatObjectsResponse:
    stats = [objects_pb2.ObjectStat(exists=True) for _ in request.digests]
    return objects_pb2.StatObjectsResponse(objects=stats)


def test_a_platform_without_the_service_is_said_to_be_one(tmp_path):
    platform = ScriptedPlatform()
    platform.script("StatObjects", _all_there)
    client = Client(Place(FixedAddress(platform.endpoint)), patience_s=5)
    try:
        with pytest.raises(NoMpiError, match="the service mpi is not served"):
            clustered(client, tmp_path, *blobs(), 2)
    finally:
        client.close()
        platform.close()


def test_the_agent_s_words_for_a_missing_mpi_are_known():
    with pytest.raises(NotHereError) as caught:
        find_launcher("mpich", "/nowhere")
    said = f"job_1 (kmeans) failed: {caught.value}"
    assert (
        clustering.missing_mpi(said)
        == "MPICH is not installed where the ranks run: pip install mpich"
    )
    assert clustering.missing_mpi("rank 1: exit code 9") == ""
