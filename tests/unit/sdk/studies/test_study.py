"""What runs come to."""

from __future__ import annotations

import json

import pytest
from gridloom.studies import laws
from gridloom.studies.stretch import cores_of
from gridloom.studies.study import Run, ScalingStudy, study_of


def runs_of(times: dict[int, list[float]], cores: int = 64) -> list[Run]:
    """Runs with these times, by width."""
    return [
        Run(width, repeat, seconds, 0.1, 0.2, cores, width)
        for width, seen in times.items()
        for repeat, seconds in enumerate(seen, 1)
    ]


def study(times: dict[int, list[float]], **more) -> ScalingStudy:
    cores = more.pop("cores", 64)
    words = {"name": "s", "title": "work(1)", "unit": "ranks", "mode": "strong"}
    words |= {"bound": 0.7, "confidence": 0.95, **more}
    return study_of(runs_of(times, cores), **words)


def test_strong_scaling_is_by_medians_over_the_smallest_width():
    found = study({1: [8, 9, 30], 2: [5, 4.5, 4.4], 4: [3, 3, 3]})
    assert [point.seconds for point in found.points] == [9, 4.5, 3]
    assert [point.speedup for point in found.points] == [1, 2, 3]
    assert [point.efficiency for point in found.points] == [1, 1, 0.75]
    assert found.points[2].serial == pytest.approx(laws.karp_flatt(3, 4))
    assert (found.points[1].least_s, found.points[1].most_s) == (4.4, 5)
    assert found.points[1].speedup_low == 9 / 5


def test_weak_scaling_counts_the_work_that_has_grown():
    found = study({1: [2.0], 2: [2.5], 4: [4.0]}, mode="weak")
    assert [point.speedup for point in found.points] == [1, 1.6, 2]
    assert [point.efficiency for point in found.points] == [1, 0.8, 0.5]
    assert found.efficient_width == 2
    assert found.law is found.gustafson


def test_a_reference_that_is_not_one_is_scaled_by():
    found = study({4: [8.0], 8: [4.0], 16: [3.0]})
    assert [point.speedup for point in found.points] == pytest.approx([1, 2, 8 / 3])
    assert found.points[2].efficiency == pytest.approx(2 / 3)
    assert "4 ranks: speedups are over it" in str(found)


def test_the_width_up_to_which_it_is_efficient_is_measured_and_predicted():
    times = {q: [1 / laws.amdahl_speedup(q, 0.1)] for q in (1, 2, 4, 8)}
    found = study(times)
    assert found.efficient_width == 4
    assert found.predicted_width == pytest.approx(laws.amdahl_reach(0.1, 0.7))
    assert "70 % or more up to 4 ranks; Amdahl: up to 5.29" in str(found)


def test_a_dip_ends_what_is_efficient():
    assert study({1: [8.0], 2: [7.0], 4: [2.0]}).efficient_width == 1


def test_runs_that_shared_cores_are_marked_and_left_out_of_the_laws():
    found = study({1: [8.0], 2: [4.0], 4: [4.1], 8: [4.2]}, cores=2)
    assert found.oversubscribed == (4, 8)
    assert found.amdahl.samples == 2
    assert found.amdahl.serial == pytest.approx(0)
    assert found.efficient_width == 2
    text = str(found)
    assert " 4* " in text
    assert "* oversubscribed: 4, 8 ranks shared fewer cores than they needed" in text


def test_one_width_has_no_law():
    found = study({2: [1.0, 1.1]})
    assert found.law is None
    assert found.predicted_width is None
    assert found.efficient_width == 2


def test_a_reference_with_too_few_cores_says_nothing():
    found = study({4: [1.0], 8: [1.0]}, cores=2)
    assert (found.law, found.efficient_width) == (None, None)
    assert "the reference itself had too few cores" in str(found)


def test_all_of_it_is_plain_json():
    found = study({1: [8.0], 2: [4.0], 4: [2.0]})
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["points"][2]["speedup"] == 4
    assert document["amdahl"]["limit"] is None  # no serial part: infinite
    assert document["oversubscribed"] == []


def test_processes_of_one_host_share_its_cores():
    def place(host: str, cpus: list[int], limit: float | None = None):
        return {"host": host, "cpus": cpus, "limit": limit}

    assert cores_of([place("a", [0, 1]), place("a", [1, 2])]) == 3
    assert cores_of([place("a", [0, 1]), place("b", [0, 1])]) == 4
    assert cores_of([place("a", list(range(64)), 1.5)]) == 2
    assert cores_of([place("a", [0]), place("b", [0, 1, 2], 2.0)]) == 3
