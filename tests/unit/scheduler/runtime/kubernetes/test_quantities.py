from __future__ import annotations

import pytest
from gridloom_services.scheduler.runtime.kubernetes.quantities import (
    claimed,
    offered,
    parse_quantity,
    quantity,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("16Gi", 16 << 30), ("129e6", 129_000_000), ("128974848", 128974848), ("2k", 2000)],
)
def test_quantities_are_numbers(text, value):
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    ("text", "has", "asks"), [("1500m", 1500, 1500), ("2", 2000, 2000), ("100u", 0, 1)]
)
def test_what_is_offered_is_rounded_down_and_what_is_asked_for_up(text, has, asks):
    assert (offered("cpu", text), claimed("cpu", text)) == (has, asks)


@given(st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]), st.integers(0, 1 << 50))
def test_what_is_written_is_read_back(resource, amount):
    assert offered(resource, quantity(resource, amount)) == amount
