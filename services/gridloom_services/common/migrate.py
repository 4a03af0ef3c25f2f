"""`python -m gridloom_services.SERVICE migrate`: make or migrate the service's tables, and end.

A service does the same when it starts. As a command of its own it can be run before the new version
of a service is: again and again, by several at once, and (on PostgreSQL) while the old version
works, which goes on with tables that have more than it knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any

from gridloom_services.common.lock import FolderLock
from gridloom_services.common.logs import configure_logs
from gridloom_services.common.settings import load_server_settings, load_settings
from gridloom_services.common.store import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom_services.common.schema import Schema
    from gridloom_services.common.settings import ServerSettings

_log = logging.getLogger(__name__)


def migrate(service: str, kind: type[Any], schema: Schema) -> None:
    """Bring the store that the environment names to the newest revision.

    StartError where that cannot be; nothing was changed then.
    """
    settings = load_server_settings(service, os.environ)
    configure_logs(settings.log_level)
    own = load_settings(service, kind, os.environ)
    with _store(service, own.database_url or settings.database_url, settings) as url:
        name = asyncio.run(_migrated(url, schema, settings.start_patience_s))
    _log.info("migrated", extra={"store": name, "revision": schema.head})


@contextlib.contextmanager
def _store(service: str, url: str, settings: ServerSettings) -> Iterator[str]:
    """The URL; of a file, which the service itself must not have open."""
    if url and not url.startswith("sqlite"):
        yield url
        return
    folder = settings.home / service
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FolderLock(folder):
        yield url or f"sqlite:///{folder / service}.db"


async def _migrated(url: str, schema: Schema, patience_s: float) -> str:
    database = await Database.open(url, schema, patience_s=patience_s)
    await database.close()
    return database.name
