from __future__ import annotations

import pytest
from gridloom_services.scheduler.runtime.kubernetes.permissions import (
    MissingPermissionError,
    check_permissions,
)


class Authorizer:
    def __init__(self, *denied: tuple[str, str]) -> None:
        self.denied = denied

    async def request(self, method: str, path: str, query=None, body=None) -> dict:
        asked = body["spec"]["resourceAttributes"]
        kind = "/".join(filter(None, (asked["resource"], asked["subresource"])))
        return {"status": {"allowed": (asked["verb"], kind) not in self.denied}}


async def test_nothing_is_said_where_everything_is_allowed():
    await check_permissions(Authorizer(), "jobs")


async def test_every_missing_verb_is_named_with_its_resource_and_place():
    denied = Authorizer(("create", "pods/exec"), ("watch", "nodes"))
    with pytest.raises(MissingPermissionError) as error:
        await check_permissions(denied, "jobs")
    assert '"create" on pods/exec in namespace "jobs"' in str(error.value)
    assert '"watch" on nodes in the cluster' in str(error.value)
    assert "secrets" not in str(error.value)


async def test_policies_are_asked_about_where_gangs_have_some():
    denied = Authorizer(("create", "networkpolicies"))
    await check_permissions(denied, "jobs")
    with pytest.raises(MissingPermissionError, match='"create" on networkpolicies in namespace'):
        await check_permissions(denied, "jobs", with_policies=True)
