"""The installation itself: one address outside, keys at the door, the chart's own test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom import errors

from tests.e2e.support.release import NAME

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.e2e.support.release import Release

_KEY_OF_NOBODY = "glk_000000000000_0000000000000000000000000000000000000000000"


def test_the_platform_answers_outside_the_cluster(client: Client):
    assert [queue.name for queue in client.queues()] == ["default"]


@pytest.mark.parametrize("key", ["", "wrong", _KEY_OF_NOBODY])
def test_who_has_no_key_does_not_come_in(release: Release, key: str):
    with pytest.raises(errors.UnauthenticatedError):
        gridloom.connect(release.address, api_key=key)


def test_every_pod_runs_as_nobody_on_a_file_system_that_is_read_only(release: Release):
    for pod in release.objects("pods"):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_charts_own_test_finds_it_well(release: Release):
    assert "Succeeded" in release.helm("test", NAME, "--timeout", "180s")
