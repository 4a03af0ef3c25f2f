"""Logs: the standard library's, one JSON object a line, with what is known about the call.

    _log = logging.getLogger(__name__)
    _log.info("gang started", extra={"job_id": job.id, "node": node})

`with log_context(job_id=...)` adds fields to every record within, across awaits.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NO_FIELDS: Mapping[str, object] = MappingProxyType({})
_context: ContextVar[Mapping[str, object]] = ContextVar("gridloom_log_context", default=_NO_FIELDS)

_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextmanager
def log_context(**fields: object) -> Iterator[None]:
    """Add fields to every record that this task writes within."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class JsonFormatter(logging.Formatter):
    """One line: time, level, logger, message, then the context's and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_context.get(),
        }
        own = vars(record)
        fields.update({key: own[key] for key in own if key not in _OF_EVERY_RECORD})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str, ensure_ascii=False)

    def formatTime(  # noqa: N802  # the base class names it so
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        """UTC with milliseconds: "2026-01-31T12:00:00.123Z"."""
        del datefmt
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{seconds}.{int(record.msecs):03d}Z"


def configure_logs(level: str = "info", handler: logging.Handler | None = None) -> None:
    """Send everything to `handler` (standard error), and warnings of Python with it."""
    handler = handler or logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
