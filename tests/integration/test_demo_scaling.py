"""The demo's last stage on a real platform with real ranks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import gridloom
import numpy as np
import pytest
from gridloom_services.demo.clustering import REPEATS
from gridloom_services.demo.programs import clusters
from gridloom_services.demo.stages import Study, scaling
from sklearn.datasets import load_digits

from tests.support.mpi_programs import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    digits = load_digits()
    np.savez(tmp_path / "digits.npz", images=digits.data[:200], labels=digits.target[:200])
    with (
        running(tmp_path / "home") as home,
        gridloom.connect(home=home.path) as client,
    ):
        yield Study(client, tmp_path, workers=2)
    sys.modules.pop("clusters", None)


@gridloom.mpi(ranks=1, result="root")
def centres(comm, images):
    return clusters.kmeans(comm, images)


def test_k_means_over_ranks_is_drawn_as_it_scales_and_finds_the_same_on_any_number(study: Study):
    said = scaling(study)
    assert "k-means on 2 ranks" in said
    assert study.scaling is not None
    runs = [(point.width, point.runs) for point in study.scaling.points]
    assert runs == [(1, REPEATS), (2, REPEATS)]
    assert (study.folder / "scaling.png").read_bytes().startswith(b"\x89PNG")
    images = load_digits().data[:200]
    found = [
        study.client.mpi.submit(centres.options(ranks=ranks), images).result() for ranks in (1, 2)
    ]
    (one, loss), (other, other_loss) = found
    assert np.allclose(one, other)
    assert loss == pytest.approx(other_loss)
