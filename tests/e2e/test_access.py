"""Who may do what, seen from outside: a refusal names the role that is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom import errors

from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from gridloom.client import Client

    from tests.e2e.support.release import Release


def test_a_viewer_looks_and_is_refused_the_rest(client: Client, release: Release):
    made = client.access.create_key(role="viewer", project="default", owner="vera", expires="1h")
    with gridloom.connect(release.address, api_key=made.secret) as viewer:
        assert [queue.name for queue in viewer.queues()] == ["default"]
        with pytest.raises(errors.PermissionDeniedError, match="submitter"):
            viewer.run(["true"])
        with pytest.raises(errors.PermissionDeniedError):
            list(viewer.map(abs, [1]))


def test_a_key_that_is_revoked_opens_nothing_any_more(client: Client, release: Release):
    made = client.access.create_key(role="submitter", project="default", owner="sam")
    with gridloom.connect(release.address, api_key=made.secret) as person:
        assert person.run(["true"], cpus=0.1).result(timeout="2m").exit_code == 0
        client.access.revoke_key(made.secret)
        eventually_now(lambda: _is_refused(person))


def test_refusals_are_in_the_audit_log(client: Client, release: Release):
    made = client.access.create_key(role="viewer", project="default", owner="victor")
    with (
        gridloom.connect(release.address, api_key=made.secret) as viewer,
        pytest.raises(errors.PermissionDeniedError),
    ):
        viewer.run(["true"])
    assert "victor" in {entry.actor for entry in client.access.audit(result="refused")}


def _is_refused(person: Client) -> bool:
    try:
        person.queues()
    except errors.UnauthenticatedError:
        return True
    return False
