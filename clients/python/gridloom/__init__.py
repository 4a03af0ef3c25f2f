"""Gridloom, the self-hosted HPC service: one SDK for commands, Python functions and what follows.

`client = gridloom.connect()` finds or starts the platform; `@gridloom.function` makes a function
that runs there. Everything is imported when it is first used: importing this package is cheap.
"""

from __future__ import annotations

from importlib import import_module

from gridloom import version

# What type checkers read; importing `typing` for it would cost a third of our own import time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from gridloom import aio, errors
    from gridloom.calls.executor import Executor
    from gridloom.calls.function import function
    from gridloom.calls.workflow import chain, chord, chunks, group
    from gridloom.client import Client
    from gridloom.connecting import connect
    from gridloom.jobs.handle import Job
    from gridloom.jobs.role import Role
    from gridloom.jobs.states import FailureClass, JobState, PendingReason
    from gridloom.mpi_jobs.function import mpi
    from gridloom.retries import Retries
    from gridloom.worker.context import current_call

__version__ = version.VERSION

__all__ = [
    "Client",
    "Executor",
    "FailureClass",
    "Job",
    "JobState",
    "PendingReason",
    "Retries",
    "Role",
    "__version__",
    "aio",
    "chain",
    "chord",
    "chunks",
    "connect",
    "current_call",
    "errors",
    "function",
    "group",
    "mpi",
]

# Where each name lives.
_HOMES = {
    "Client": "gridloom.client",
    "connect": "gridloom.connecting",
    "Job": "gridloom.jobs.handle",
    "Role": "gridloom.jobs.role",
    "JobState": "gridloom.jobs.states",
    "FailureClass": "gridloom.jobs.states",
    "PendingReason": "gridloom.jobs.states",
    "Retries": "gridloom.retries",
    "Executor": "gridloom.calls.executor",
    "function": "gridloom.calls.function",
    "chain": "gridloom.calls.workflow",
    "chord": "gridloom.calls.workflow",
    "chunks": "gridloom.calls.workflow",
    "group": "gridloom.calls.workflow",
    "mpi": "gridloom.mpi_jobs.function",
    "current_call": "gridloom.worker.context",
}
_MODULES = {"aio", "errors"}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"gridloom.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'gridloom' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
