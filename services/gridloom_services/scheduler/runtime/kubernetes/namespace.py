"""The objects of gangs in the API server: made, changed and taken away, each in one call."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from gridloom_services.common.errors import StartError
from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.api import ApiError, NotThereError
from gridloom_services.scheduler.runtime.kubernetes.manifests import (
    KEPT,
    owner_manifest,
    policy_manifest,
    service_manifest,
    token_manifest,
)

if TYPE_CHECKING:
    from gridloom_services.scheduler.runtime.base import Gang
    from gridloom_services.scheduler.runtime.kubernetes.api import KubernetesApi, Object
    from gridloom_services.scheduler.runtime.kubernetes.plan import PodPlan
    from gridloom_services.scheduler.runtime.units import Units

_PAGE = "500"
# Deleted at once, without the word of a kubelet that is not there any more.
FORCED = 0


class AnchorMissingError(StartError):
    """The object that should own all gangs does not exist."""


class JobNamespace:
    """Where gangs live."""

    def __init__(self, api: KubernetesApi, namespace: str, plan: PodPlan) -> None:
        self._api = api
        self._plan = plan
        self._anchor: Object | None = None
        self.path = f"/api/v1/namespaces/{namespace}"
        self._policies = f"/apis/networking.k8s.io/v1/namespaces/{namespace}"
        self.namespace = namespace

    async def find_anchor(self, name: str) -> None:
        """Find the object that owns every gang, if there is to be one. AnchorMissingError."""
        if not name:
            return
        try:
            found = await self._api.get(f"{self.path}/configmaps/{name}")
        except NotThereError as error:
            raise AnchorMissingError(
                f'there is no ConfigMap "{name}" in namespace "{self.namespace}" to own the gangs'
            ) from error
        self._anchor = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": found["metadata"]}

    async def gangs(self) -> list[Object]:
        """Return the object of every gang."""
        found: list[Object] = []
        query = {"labelSelector": names.SELECTOR, "limit": _PAGE}
        while True:
            page = await self._api.get(f"{self.path}/configmaps", query)
            found += page["items"]
            if not page["metadata"].get("continue"):
                return [{"apiVersion": "v1", "kind": "ConfigMap", **item} for item in found]
            query["continue"] = page["metadata"]["continue"]

    async def make_gang(self, gang: Gang, units: Units) -> Object:
        """Make a gang's object; one that is there stays as it is. ApiError."""
        manifest = owner_manifest(gang, units, self._plan.labels, self._anchor)
        made = await self._api.create(f"{self.path}/configmaps", manifest)
        return {"apiVersion": "v1", "kind": "ConfigMap", **made}

    async def change_gang(self, gang: str, change: Object) -> None:
        """Change what is written down of a gang."""
        await self._api.patch(f"{self.path}/configmaps/{names.dns_name(gang)}", change)

    async def remove_gang(self, gang: str) -> None:
        """Take a gang's object away; the cluster takes what it owns."""
        path = f"{self.path}/configmaps/{names.dns_name(gang)}"
        await self._api.delete(path, policy="Background")

    async def make_token(self, gang: Gang, owner: Object) -> bool:
        """Make the secret with the gang's token. One that is there is left as it is.

        False: there is none, and the token is not known any more. Secrets are never read: whether
        there is one is learned from a try that changes nothing.
        """
        manifest = token_manifest(gang, self._plan.labels, owner)
        is_known = gang.token != KEPT
        existed = await self._make_once("secrets", manifest, dry_run=not is_known)
        return is_known or existed

    async def introduce(self, gang: Gang, owner: Object) -> None:
        """Make what a gang's pods know and reach each other by: a Service, and leave to do so."""
        made = [self._make_once("services", service_manifest(gang, self._plan.labels, owner))]
        if self._plan.network_policies:
            policy = policy_manifest(gang, self._plan.labels, owner)
            made.append(self._make_once("networkpolicies", policy, path=self._policies))
        await asyncio.gather(*made)

    async def _make_once(
        self, kind: str, manifest: Object, *, path: str = "", dry_run: bool = False
    ) -> bool:
        """Make what may not be read back. True: it was there."""
        query = {"dryRun": "All"} if dry_run else None
        try:
            await self._api.request("POST", f"{path or self.path}/{kind}", query, manifest)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return True
        return False

    async def make_pod(self, manifest: Object) -> Object:
        """Make a pod; one of the same gang that is there is returned. ApiError."""
        pod = await self._api.create(f"{self.path}/pods", manifest)
        if pod["metadata"].get("ownerReferences") != manifest["metadata"]["ownerReferences"]:
            raise ApiError(0, "NotGone", f"an older pod {pod['metadata']['name']} is not gone yet")
        return pod

    async def annotate_pod(self, pod: str, annotations: dict[str, str]) -> None:
        """Tell a pod's sidecar something; a pod that is gone hears nothing."""
        change = {"metadata": {"annotations": annotations}}
        with contextlib.suppress(NotThereError):
            await self._api.patch(f"{self.path}/pods/{pod}", change)

    async def delete_pod(self, pod: str, grace_s: int) -> None:
        """Ask for the end of a pod."""
        await self._api.delete(f"{self.path}/pods/{pod}", grace_s)
