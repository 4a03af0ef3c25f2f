"""The audit log's entries, on their way from the service that saw a change to the scheduler.

Each entry is in a file before the change is answered, and goes from there, many at a time and
without anybody waiting, to where all of them are kept. So a process that is killed loses none, and
neither does one whose scheduler is away. An entry has an id: one that is sent twice is kept once.
What is on its way is bounded: past `MOST_WAITING` new ones are counted only, which the log says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from gridloom.values import dataclass

from gridloom_services.common.errors import GridloomServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MOST_WAITING = 10_000
_MOST_AT_ONCE = 500
# What comes within it is sent together.
_LINGER_S = 1.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_LAST_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did (or was refused) what to which things. No secret is ever in it."""

    id: str
    at_us: int
    service: str
    action: str
    actor: str
    actor_kind: str = "user"
    key_id: str = ""
    origin: str = ""
    project: str = ""
    objects: tuple[str, ...] = ()
    object_count: int = 0
    result: str = "OK"
    detail: str = ""
    request_id: str = ""


class AuditSink(Protocol):
    """Where entries are kept for good."""

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """Keep them: durable when it returns. GridloomServiceError where that cannot be now."""
        ...


class AuditTrail:
    """What has been seen and not been kept yet. Belongs to one event loop."""

    def __init__(self, file: Path, linger_s: float = _LINGER_S) -> None:
        self._file = file
        self._linger_s = linger_s
        self._sink: AuditSink | None = None
        self._waiting: deque[AuditEntry] = deque(left_behind(file))
        self._lost = 0
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._stream = file.open("a", encoding="utf-8")

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_sink(self) -> bool:
        """Somebody keeps what is sent."""
        return self._sink is not None

    def start(self, sink: AuditSink) -> None:
        """Send entries there, those too that a process before this one has left."""
        self._sink = sink
        if self._waiting:
            self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="audit trail")

    def add(self, entry: AuditEntry) -> None:
        """Take note. It never fails and never waits."""
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            return
        self._waiting.append(entry)
        self._write([entry])
        self._wake.set()

    async def flush(self) -> None:
        """Send what waits now. What the sink says against it is raised."""
        async with self._sending:
            while self._waiting and self._sink is not None:
                batch = [self._waiting[n] for n in range(min(len(self._waiting), _MOST_AT_ONCE))]
                await self._sink.add(batch)
                for _ in batch:
                    self._waiting.popleft()
            self._forget_sent()
            self._tell_of_lost()

    async def close(self) -> None:
        """Send what can be sent soon; the rest stays in the file for the next start."""
        if self._stream.closed:
            return
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(GridloomServiceError, TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self.flush()
        self._stream.close()

    async def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._linger_s)
            self._wake.clear()
            try:
                await self.flush()
                pause_s = _FIRST_PAUSE_S
            except GridloomServiceError as error:
                _log.warning("audit entries wait", extra={"reason": error.message})
                self._wake.set()
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _tell_of_lost(self) -> None:
        if not self._lost:
            return
        lost, self._lost = self._lost, 0
        _log.error("audit entries were lost: too many waited", extra={"count": lost})
        self.add(
            AuditEntry(
                id=f"lost-{time.time_ns()}",
                at_us=time.time_ns() // 1000,
                service="audit",
                action="audit.lost",
                actor="gridloom",
                actor_kind="service",
                object_count=lost,
                detail=f"{lost} entries before this one were lost: too many waited",
            )
        )

    # ---- the file

    def _write(self, entries: Sequence[AuditEntry]) -> None:
        """A full disk keeps nothing from going on: the entry is in memory."""
        try:
            self._stream.writelines(f"{_line(entry)}\n" for entry in entries)
            self._stream.flush()
        except OSError as error:
            _log.error("an audit entry is in memory only", extra={"reason": str(error)})

    def _forget_sent(self) -> None:
        """What is in the file is sent, or none of it is forgotten: ids tell what came twice."""
        if not self._waiting:
            with contextlib.suppress(OSError):
                self._stream.truncate(0)


def left_behind(file: Path) -> list[AuditEntry]:
    """The entries in a file; a last line that was cut off by a crash is none."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            found.append(_entry(json.loads(line)))
    return found[-MOST_WAITING:]


def _line(entry: AuditEntry) -> str:
    said = {name: getattr(entry, name) for name in AuditEntry.__slots__}
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False)


def _entry(said: dict[str, Any]) -> AuditEntry:
    return AuditEntry(**(said | {"objects": tuple(said["objects"])}))
