"""The examples of MPI, each on a real embedded platform."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom
import numpy as np
import pytest

from tests.support.mpi_programs import running

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parents[2] / "clients/python/examples/mpi"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gridloom.Client]:
    with (
        running(tmp_path_factory.mktemp("platform") / "home") as home,
        gridloom.connect(home=home.path) as client,
    ):
        yield client


@pytest.fixture
def example(client, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """What the example of the test's name gives."""
    monkeypatch.syspath_prepend(FOLDER)
    name = request.node.name.removeprefix("test_")
    yield importlib.import_module(name).run(client)
    del sys.modules[name]


def test_point_to_point(example):
    assert example["ring"] == [6, 1, 3, 6]
    assert example["exchange"] == [(0.0, 4e3), (1e3, 2e3), (2e3, 4e3), (3e3, 2e3)]


def test_broadcast(example):
    assert example == [({"steps": 10, "method": "implicit"}, 10.0)] * 4


def test_scatter_gather(example):
    equal, other = example
    assert equal.tolist() == [number**2 for number in range(12)]
    assert other.tolist() == [number**2 for number in range(10)]


def test_all_to_all(example):
    assert np.array_equal(example, np.arange(144.0).reshape(12, 12).T)


def test_reductions(example):
    expected = {
        "MAX": 4,
        "MIN": 1,
        "SUM": 10,
        "PROD": 24,
        "BAND": 0,
        "BOR": 7,
        "LAND": False,
        "LOR": True,
        "MAXLOC": 3,
        "MINLOC": 1,
    }
    assert example == [expected] * 4


def test_cartesian(example):
    assert [each["place"] for each in example] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for each in example:
        assert each["told"] == [*each["rows"], *each["columns"]]


def test_heat3d(example):
    field, alone = example
    assert np.allclose(field, alone, rtol=0, atol=1e-12)
    assert 0 < field.max() < 1


def test_kmeans(example):
    (centres, loss), (spread_centres, spread_loss) = example
    assert np.allclose(centres, spread_centres)
    assert spread_loss == pytest.approx(loss)
    assert loss < 1.4e6


def test_kmeans_scaling(example):
    assert [study.mode for study in example] == ["strong", "weak"]
    for study in example:
        assert [(point.width, point.runs) for point in study.points] == [(1, 2), (2, 2)]


def test_parallel_sort(example):
    in_order, total = example
    assert len(in_order) == 20_000
    assert (np.diff(in_order) >= 0).all()
    assert in_order.sum() == pytest.approx(total)


def test_deadlock(example):
    seen, received = example
    assert "time-out of 2 s" in seen
    assert seen.count("line 18 in both_send_first") == 2
    assert received == ["from 1", "from 0"]


def test_every_example_has_a_test():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert {f"test_{name}" for name in names} <= set(globals())
