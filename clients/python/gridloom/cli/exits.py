"""Exit codes that scripts can use, and the one table that makes them of errors."""

from __future__ import annotations

from gridloom import errors

DONE = 0
FAILED = 1
USAGE = 2
REFUSED = 3
UNREACHABLE = 4
# Of `gridloom run`: what Gridloom itself could not do. Everything else is the command's own.
RUN_FAILED = 125
INTERRUPTED = 130
SIGNAL_BASE = 128

# The first class that fits decides.
_CODES: tuple[tuple[type[errors.GridloomError], int], ...] = (
    (errors.JobError, FAILED),
    (errors.InvalidRequestError, USAGE),
    (errors.PermissionDeniedError, REFUSED),
    (errors.QuotaExceededError, REFUSED),
    (errors.UnavailableError, UNREACHABLE),
)


def exit_code_of(error: errors.GridloomError) -> int:
    """The exit code that says what kind of error it was."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def process_exit_code(exit_code: int | None, signal: int | None) -> int:
    """The code of a command that has ended, as a shell would have it."""
    if signal:
        return SIGNAL_BASE + signal
    return RUN_FAILED if exit_code is None else exit_code
