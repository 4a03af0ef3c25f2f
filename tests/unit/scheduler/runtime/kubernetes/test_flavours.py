from __future__ import annotations

import pytest
from gridloom_services.common.errors import SettingsError
from gridloom_services.scheduler.runtime.kubernetes.flavours import (
    ANY,
    Flavour,
    flavour_of,
    read_flavours,
)

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
GPU = Flavour("gpu", {"pool": "gpu"}, ({"key": "nvidia.com/gpu", "operator": "Exists"},))


def node(labels: dict | None = None, *taints: dict) -> dict:
    return {"metadata": {"name": "n", "labels": labels or {}}, "spec": {"taints": list(taints)}}


def test_without_flavours_every_node_is_for_jobs():
    assert flavour_of(node(), ()) is ANY


def test_a_taint_keeps_jobs_away_whose_flavour_does_not_tolerate_it():
    assert flavour_of(node({}, TAINT), ()) is None
    assert flavour_of(node({"pool": "gpu"}, TAINT), (GPU,)) is GPU
    assert flavour_of(node({"pool": "gpu"}, {**TAINT, "key": "other"}), (GPU,)) is None


def test_with_flavours_a_node_must_be_of_one():
    assert flavour_of(node({"pool": "cpu"}), (GPU,)) is None


def test_a_toleration_may_be_of_one_value_and_one_effect():
    exact = Flavour("x", {}, ({"key": "nvidia.com/gpu", "value": "present"},))
    assert flavour_of(node({}, TAINT), (exact,)) is exact
    assert flavour_of(node({}, {**TAINT, "value": "absent"}), (exact,)) is None
    narrow = Flavour("x", {}, ({"operator": "Exists", "effect": "NoExecute"},))
    assert flavour_of(node({}, TAINT), (narrow,)) is None


def test_a_nodes_condition_is_no_question_of_flavour():
    sick = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    assert flavour_of(node({}, sick), ()) is ANY


def test_a_mere_preference_keeps_nobody_away():
    assert flavour_of(node({}, {**TAINT, "effect": "PreferNoSchedule"}), ()) is ANY


def test_flavours_are_read_from_the_setting():
    text = '{"gpu": {"nodeSelector": {"pool": "gpu"}, "tolerations": [{"operator": "Exists"}]}}'
    assert read_flavours(text) == (Flavour("gpu", {"pool": "gpu"}, ({"operator": "Exists"},)),)
    assert read_flavours("") == ()


@pytest.mark.parametrize("text", ["{", "[1]", '{"gpu": {"nodeselector": {}}}', '{"gpu": 1}'])
def test_what_is_no_flavour_is_refused(text):
    with pytest.raises(SettingsError, match="FLAVOURS"):
        read_flavours(text)
