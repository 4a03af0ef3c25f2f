"""The composition of keys, members and the audit log, a part of the scheduler's app."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gridloom.api.scheduler.v1 import access_pb2_grpc

from gridloom_services.common.keys import new_key
from gridloom_services.scheduler.access.book import AccessBook
from gridloom_services.scheduler.access.bootstrap import read_bootstrap_key
from gridloom_services.scheduler.access.store.sql import SqlAccessStore
from gridloom_services.scheduler.access_service import AccessServicer

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from gridloom_services.common.app import PlatformContext
    from gridloom_services.common.background import Background
    from gridloom_services.common.store import Database

ACCESS_SERVICE = "gridloom.api.scheduler.v1.AccessService"
# What the processes of a job may call of it.
GANG_ACCESS_METHODS = ("WhoAmI",)

_DAY_S = 24 * 3600
_WRITE_USES_S = 60.0


class AccessPart:
    """Who may come in, in the scheduler's process."""

    def __init__(
        self,
        context: PlatformContext,
        database: Database,
        audit_days: float,
        is_live: Callable[[str, int | None, int], bool],
    ) -> None:
        """`is_live` knows whether an attempt of a job (of an element) is still wanted."""
        self._context = context
        self._audit_days = audit_days
        self._store = SqlAccessStore(database)
        hasher = context.keys.hasher
        self._book = AccessBook(self._store, hasher, new_key, _now_us)
        self._servicer = AccessServicer(self._book, self._store, context.audit, is_live)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        access_pb2_grpc.add_AccessServiceServicer_to_server(self._servicer, server)

    async def start(self, background: Background) -> None:
        """Read who is known, let the first administrator in, and answer for keys from now on.

        SettingsError where the first administrator's file holds no key.
        """
        await self._book.load()
        file = self._context.bootstrap_key_file
        if file is not None:
            await self._book.admit_bootstrap(read_bootstrap_key(file))
        self._context.keys.use(self._book)
        self._context.audit.start(self._store)
        background.repeat(self._book.write_uses, _WRITE_USES_S, "write down the use of keys")
        background.repeat(self._forget, _DAY_S, "forget old audit entries")

    async def stop(self) -> None:
        """Write down what is not yet; before the database is closed."""
        await self._context.audit.close()
        await self._book.write_uses()

    async def _forget(self) -> None:
        await self._store.forget(_now_us() - round(self._audit_days * _DAY_S * 1e6))


def _now_us() -> int:
    return time.time_ns() // 1000
