from __future__ import annotations

import re

import pytest
from gridloom_services.scheduler.runtime.kubernetes.names import (
    dns_name,
    label_value,
    pod_name,
    token_name,
)
from gridloom_services.scheduler.runtime.units import Unit
from hypothesis import given
from hypothesis import strategies as st

LABEL = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")


@pytest.mark.parametrize(("gang", "name"), [("job_x-a2", "job-x-a2"), ("job_x.7-a1", "job-x-7-a1")])
def test_a_gang_is_known_by_its_own_name(gang, name):
    unit = Unit("main", "n", colocated=False, known=(3,), wanted=(3,))
    assert dns_name(gang) == name
    assert pod_name(gang, unit) == f"{name}-main-3"
    assert token_name(gang) == f"{name}-token"


@given(st.text(min_size=1, max_size=200))
def test_every_name_is_one_that_services_may_have(gang):
    assert LABEL.fullmatch(dns_name(gang))


@given(st.text("abc", min_size=64, max_size=80), st.text("abc", min_size=64, max_size=80))
def test_long_names_stay_apart(one, other):
    assert (dns_name(one) == dns_name(other)) == (one == other)


def test_values_of_labels_are_cut():
    assert label_value("x" * 62 + "._y") == "x" * 62
