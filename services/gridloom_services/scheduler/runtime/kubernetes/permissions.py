"""What the runtime may do in the cluster: asked once at the start, so that nothing fails later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from gridloom.values import dataclass

from gridloom_services.common.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.runtime.kubernetes.api import Object

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class MissingPermissionError(StartError):
    """The service account may not do what the runtime needs; the message has every verb."""


@dataclass(frozen=True, slots=True)
class Permission:
    """One verb on one kind of objects, in the namespace or everywhere. No `group`: the core's."""

    verb: str
    resource: str
    subresource: str = ""
    group: str = ""
    everywhere: bool = False

    @property
    def kind(self) -> str:
        """Return the resource as a Role names it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


# The list that the chart's Role and ClusterRole are made of.
NEEDED = (
    *(Permission(verb, "configmaps") for verb in ("create", "delete", "get", "list", "patch")),
    *(Permission(verb, "pods") for verb in ("create", "delete", "get", "list", "patch", "watch")),
    Permission("create", "pods", "exec"),
    Permission("get", "pods", "exec"),
    Permission("create", "secrets"),
    Permission("create", "services"),
    *(Permission(verb, "nodes", everywhere=True) for verb in ("list", "watch")),
    # What others have claimed on the nodes.
    *(Permission(verb, "pods", everywhere=True) for verb in ("list", "watch")),
)
# Where each gang of several pods has a NetworkPolicy: which the chart does by the same toggle.
FOR_POLICIES = (Permission("create", "networkpolicies", group="networking.k8s.io"),)


class Reviews(Protocol):
    """Who knows."""

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
    ) -> Object:
        """Ask."""


async def check_permissions(api: Reviews, namespace: str, *, with_policies: bool = False) -> None:
    """Return when everything needed is allowed. MissingPermissionError names what is not."""
    needed = NEEDED + (FOR_POLICIES if with_policies else ())
    answers = await asyncio.gather(*(_is_allowed(api, each, namespace) for each in needed))
    missing = [each for each, allowed in zip(needed, answers, strict=True) if not allowed]
    if missing:
        named = ", ".join(_described(each, namespace) for each in missing)
        raise MissingPermissionError(
            f"the scheduler's service account lacks {named}; its Role and ClusterRole must allow"
            " that (the chart makes them)"
        )


async def _is_allowed(api: Reviews, permission: Permission, namespace: str) -> bool:
    attributes = {
        "verb": permission.verb,
        "group": permission.group,
        "resource": permission.resource,
        "subresource": permission.subresource,
        "namespace": "" if permission.everywhere else namespace,
    }
    review: Object = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await api.request("POST", _REVIEWS, None, review)
    return bool(answer["status"]["allowed"])


def _described(permission: Permission, namespace: str) -> str:
    where = "in all namespaces" if permission.everywhere else f'in namespace "{namespace}"'
    if permission.resource == "nodes":
        where = "in the cluster"
    return f'"{permission.verb}" on {permission.kind} {where}'
