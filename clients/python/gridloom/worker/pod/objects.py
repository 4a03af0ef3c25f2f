"""The platform's object store, as containers of ours reach it: with the gang's own token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.channel import Connection
from gridloom.locate import locate
from gridloom.objects import ObjectsClient

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PATIENCE_S = 300.0


class PlatformObjects:
    """Files in, and files out for the job. Raises the exceptions of `gridloom.errors`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._connection: Connection | None = None

    def fetch(self, digest: str, path: Path) -> None:
        """Write an object to a file."""
        self._client("").get_file(digest, path)

    def keep(self, path: Path) -> str:
        """Store a file for the job."""
        return self._client(self._environment["GRIDLOOM_JOB_ID"]).put_file(path).digest

    def keep_for_a_while(self, path: Path) -> str:
        """Store a file that nobody holds."""
        return self._client("").put_file(path).digest

    def _client(self, holder: str) -> ObjectsClient:
        if self._connection is None:
            place = locate(environment=self._environment)
            self._connection = Connection(place.locator, patience_s=PATIENCE_S)
        return ObjectsClient(self._connection, holder=holder)
