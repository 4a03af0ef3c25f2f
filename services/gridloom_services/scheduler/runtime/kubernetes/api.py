"""The API server, as the runtime speaks to it: paths and plain values, errors with their reason.

The client library finds the cluster, and keeps the credentials fresh; its models are left aside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import aiohttp
from gridloom.values import dataclass
from kubernetes_asyncio import client, config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

_log = logging.getLogger(__name__)

Object = dict[str, Any]

_CONNECTIONS = 200
# An object of a watch comes in one line, and may be as large as etcd takes it.
_READ_BYTES = 2 << 20
_TIMEOUT_S = 30.0
_CLOSING_S = 0.25
# A server that says nothing for so long, not even a bookmark, is not there any more.
_SILENCE_S = 90.0
_JSON = "application/json"
# Of what is made, only what the server adds: who, when, by which uid.
_METADATA = f"{_JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{_JSON}"
_MERGE_PATCH = "application/merge-patch+json"
_AGAIN = {429, 500, 502, 503, 504}
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_UNAUTHORIZED = 401
_FORBIDDEN = 403
# By its rules of access; an admission that refuses says something else.
_DENIED = re.compile(r'is forbidden: User "[^"]*" cannot ')
_GONE = 410
NOT_FOUND = 404
CONFLICT = 409


class ApiError(OSError):
    """The API server refused, or could not be asked (`status` 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def is_passing(self) -> bool:
        """Say whether the same request may well succeed later."""
        return self.status == 0 or self.status in _AGAIN

    @property
    def may_be_early(self) -> bool:
        """Say whether a server that is just starting says this of whom it will know in a moment."""
        return self.status == _UNAUTHORIZED or (
            self.status == _FORBIDDEN and _DENIED.search(self.message) is not None
        )


class ExpiredError(Exception):
    """A watch cannot go on from where it was: what there is must be listed anew."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change that a watch tells of: ADDED, MODIFIED, DELETED or BOOKMARK."""

    kind: str
    object: Object


async def load_configuration(kubeconfig: Path | None, context: str) -> client.Configuration:
    """Find the cluster: by a kubeconfig, or (None) as a pod in it. ApiError where there is none."""
    configuration = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(
                str(kubeconfig), context or None, client_configuration=configuration
            )
    except (config.ConfigException, OSError) as error:
        where = kubeconfig or "this pod's service account"
        raise ApiError(0, "NoCluster", f"no way to a cluster by {where}: {error}") from error
    configuration.connection_pool_maxsize = _CONNECTIONS
    return configuration


class KubernetesApi:
    """One API server. Must be used and closed on one event loop."""

    def __init__(self, configuration: client.Configuration) -> None:
        self._client = client.ApiClient(configuration)
        # A session of our own on its connections: without a look into ~/.netrc for each request.
        self._session = aiohttp.ClientSession(
            connector=self._client.rest_client.pool_manager.connector,
            connector_owner=False,
            read_bufsize=_READ_BYTES,
            proxy=configuration.proxy,
        )
        self._host: str = (configuration.host or "").rstrip("/")

    async def close(self) -> None:
        """Let go of all connections."""
        await self._session.close()
        await self._client.close()
        # TLS connections are only closed once the other side has heard of it.
        await asyncio.sleep(_CLOSING_S)

    # ---- plain requests

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        """Return an object or a list."""
        return await self.request("GET", path, query)

    async def create(self, path: str, manifest: Object) -> Object:
        """Make an object; one that is there already is returned as it is.

        Of a new one the manifest is returned, with the server's metadata: the server need not write
        out again what it was told.
        """
        try:
            made = await self.request("POST", path, body=manifest, accept=_METADATA)
        except ApiError as error:
            if error.status != CONFLICT or error.reason != "AlreadyExists":
                raise
            return await self.get(f"{path}/{manifest['metadata']['name']}")
        return {**manifest, "metadata": made["metadata"]}

    async def patch(self, path: str, change: Object) -> Object:
        """Merge a change into an object."""
        return await self.request("PATCH", path, body=change, kind=_MERGE_PATCH)

    async def delete(self, path: str, grace_s: int | None = None, policy: str = "") -> None:
        """Ask for the end of an object; none there: nothing happens."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        if policy:
            body["propagationPolicy"] = policy
        with contextlib.suppress(NotThereError):
            await self.request("DELETE", path, body=body)

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        kind: str = _JSON,
        accept: str = _JSON,
        patience_s: float = _TIMEOUT_S,
    ) -> Object:
        """Ask, again while the server is away, busy or just starting.

        ApiError with the server's own words.
        """
        end = asyncio.get_running_loop().time() + patience_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await self._once(method, path, query, body, (kind, accept))
            except ApiError as error:
                is_final = not (error.is_passing or error.may_be_early)
                if is_final or asyncio.get_running_loop().time() + pause_s > end:
                    raise
                _log.debug("asking again", extra={"path": path, "error": error.message})
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Object | None,
        kinds: tuple[str, str],
    ) -> Object:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        data = None if body is None else json.dumps(body)
        headers = {**await self.headers(), "Content-Type": kinds[0], "Accept": kinds[1]}
        try:
            async with self._session.request(
                method, self._host + path, params=query, data=data, headers=headers, timeout=timeout
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unreachable(error) from error
        if response.status >= 400:  # noqa: PLR2004 - errors begin there
            raise _refusal(response.status, content)
        answer: Object = json.loads(content)
        return answer

    async def headers(self) -> dict[str, str]:
        """Return what says who asks."""
        headers: dict[str, str] = {}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"])
        return headers

    # ---- streams

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Event]:
        """Yield changes until the server ends the stream. ExpiredError, ApiError."""
        timeout = aiohttp.ClientTimeout(sock_connect=_TIMEOUT_S, sock_read=_SILENCE_S)
        asked = {**query, "watch": "1", "allowWatchBookmarks": "true"}
        try:
            async with self._session.get(
                self._host + path, params=asked, headers=await self.headers(), timeout=timeout
            ) as response:
                if response.status >= 400:  # noqa: PLR2004 - errors begin there
                    raise _refusal(response.status, await response.read())
                async for line in response.content:
                    yield _event(line)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unreachable(error) from error

    @contextlib.asynccontextmanager
    async def websocket(
        self, path: str, query: list[tuple[str, str]], protocol: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a stream both ways. ApiError where that is refused."""
        url = "ws" + (self._host + path).removeprefix("http")
        try:
            socket = await self._session.ws_connect(
                url,
                params=query,
                protocols=(protocol,),
                headers=await self.headers(),
                max_msg_size=0,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise ApiError(error.status, "Refused", error.message) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _unreachable(error) from error
        async with socket:
            yield socket


class NotThereError(ApiError):
    """There is no such object."""


def _unreachable(error: Exception) -> ApiError:
    return ApiError(0, "Unreachable", f"the API server does not answer: {error or repr(error)}")


def _refusal(status: int, content: bytes) -> Exception:
    try:
        record = json.loads(content)
    except ValueError:
        record = {"message": content.decode(errors="replace")[:1000]}
    reason, message = record.get("reason", ""), record.get("message", "")
    if status == _GONE:
        return ExpiredError(message)
    kind = NotThereError if status == NOT_FOUND else ApiError
    return kind(status, reason, message)


def _event(line: bytes) -> Event:
    record = json.loads(line)
    if record["type"] == "ERROR":
        raise _refusal(record["object"].get("code", 500), json.dumps(record["object"]).encode())
    return Event(record["type"], record["object"])
