"""The sessions in memory, and those that come back from the store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gridloom_services.common.errors import InvalidRequestError, PermissionDeniedError
from gridloom_services.functions.call import session_name, split_stored_id, stored_id
from gridloom_services.functions.groups import Group
from gridloom_services.functions.session import Session
from gridloom_services.functions.store.rows import SessionRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.common.errors import GridloomServiceError
    from gridloom_services.functions.dispatch import Held, Lane
    from gridloom_services.functions.functions import FunctionTable
    from gridloom_services.functions.ledger import Ledger, Taken
    from gridloom_services.functions.store.base import CallStore
    from gridloom_services.functions.store.rows import Found

_KEY_BYTES = 16


class Sessions:
    """Sessions by key and by name. A session is in memory while it is used or unfinished."""

    def __init__(
        self, store: CallStore, ledger: Ledger, held: Held, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._held = held
        self._clock = clock
        self._by_key: dict[bytes, Session] = {}
        self._by_name: dict[str, Session] = {}
        self._next = 1
        self._opening = asyncio.Lock()
        self.functions: FunctionTable

    def __len__(self) -> int:
        return len(self._by_key)

    def restore(self, session: Session) -> None:
        """A session that has something unfinished, at a restart."""
        self._add(session)

    def begin_at(self, number: int) -> None:
        """The first new session has this number."""
        self._next = number

    def _add(self, session: Session) -> None:
        self._by_key[session.key] = session
        self._by_name[session.name] = session
        self._ledger.sessions[session.number] = session

    async def open(self, key: bytes, project: str, owner: str, python: str) -> Session:
        """The session with this key: in memory, in the store, or new.

        PermissionDeniedError where it is somebody else's.
        """
        if len(key) != _KEY_BYTES:
            raise InvalidRequestError(
                f"a session key has {_KEY_BYTES} bytes",
                field="hello.session_key",
                given=f"{len(key)} bytes",
            )
        async with self._opening:
            session = self._by_key.get(key)
            if session is None:
                row = await self._store.session(key=key)
                session = self._made(key, project, owner, python) if row is None else Session(row)
                self._add(session)
        if (session.owner, session.project) != (owner, project):
            raise PermissionDeniedError(f"session {session.name} belongs to somebody else")
        session.python = python
        return session

    def _made(self, key: bytes, project: str, owner: str, python: str) -> Session:
        now = self._clock()
        row = SessionRow(
            number=self._next,
            key=key,
            name=session_name(key),
            project=project,
            owner=owner,
            python=python,
            created_at=now,
            seen_at=now,
        )
        self._next += 1
        self._ledger.changes.new_sessions.append(row)
        session = Session(row)
        session.is_complete = True
        session.has_outputs = session.has_holds = False
        return session

    def named(self, name: str) -> Session | None:
        """A session in memory."""
        return self._by_name.get(name)

    async def find(self, name: str) -> Session | None:
        """A session by name, in memory from now on; it leaves with the next commit of its own."""
        session = self._by_name.get(name)
        if session is None:
            async with self._opening:
                session = self._by_name.get(name)
                row = await self._store.session(name=name) if session is None else None
                if row is not None:
                    session = Session(row)
                    self._add(session)
        return session

    async def numbered(self, number: int) -> Session | None:
        """A session by number, to look at: one from the store does not stay in memory."""
        session = self._ledger.sessions.get(number)
        if session is None:
            row = await self._store.session(number=number)
            session = None if row is None else Session(row)
        return session

    async def number_of(self, name: str, project: str) -> int | None:
        """Number of a session of a project; None: there is none of that name."""
        session = self._by_name.get(name)
        row = session.row() if session is not None else await self._store.session(name=name)
        return row.number if row is not None and row.project == project else None

    async def group(self, session: Session, number: int) -> Group | None:
        """A group of a session."""
        group = session.groups.get(number)
        if group is None and not session.is_complete:
            row = await self._store.group(stored_id(session.number, number))
            if row is not None:
                group = session.groups.setdefault(number, Group(row))
        return group

    def sweep(self) -> None:
        """Let go of sessions that were only looked at."""
        for session in list(self._by_key.values()):
            if session.is_idle and not self._ledger.is_touched(session):
                self._forget(session)

    # ---- after each commit

    def committed(self, taken: Taken, found: Found) -> None:
        """What nobody uses any more leaves memory: ended groups, then whole sessions."""
        del found
        for group in taken.groups:
            if group.ended_at is not None:
                self._forget_group(group)
        for session in taken.sessions:
            if session.is_idle and not self._ledger.is_touched(session):
                self._forget(session)

    def store_failed(self, error: GridloomServiceError) -> None:
        """Nothing leaves memory that is not on disk."""

    def _forget_group(self, group: Group) -> None:
        """With its lanes and specifications: a client may make very many."""
        number, group_number = split_stored_id(group.id)
        session = self._ledger.sessions.get(number)
        if session is None or session.watchers or self._ledger.is_touched(session):
            return
        lanes = [lane for lane in session.lanes.values() if lane.spec.group == group_number]
        if any(not lane.idle for lane in lanes):
            return
        session.is_complete = False
        session.groups.pop(group_number, None)
        for lane in lanes:
            self._forget_lane(session, lane)

    def _forget_lane(self, session: Session, lane: Lane) -> None:
        self._held.forget(lane)
        self.functions.forget(lane)
        session.lanes.pop(lane.spec.number, None)
        session.specs.pop(lane.spec.number, None)

    def _forget(self, session: Session) -> None:
        if any(not lane.idle for lane in session.lanes.values()):
            return
        for lane in list(session.lanes.values()):
            self._forget_lane(session, lane)
        self._by_key.pop(session.key, None)
        self._by_name.pop(session.name, None)
        self._ledger.sessions.pop(session.number, None)
