"""Waiting until no thread of gRPC's is left, after its channels were closed."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

# gRPC's threads end within some milliseconds; another library may have channels of its own.
LONGEST_S = 0.5
_TASKS = Path("/proc/self/task")
# As the kernel shows gRPC's own threads, and how those are called that it starts in Python.
_NATIVE = ("event_engine", "grpc_", "lifeguard", "resolver-execut", "default-executo")
_IN_PYTHON = "grpc."


def await_stillness(longest_s: float = LONGEST_S) -> bool:
    """Wait until gRPC has no threads; False: it still has some."""
    ends_at = time.monotonic() + longest_s
    while _is_busy():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.001)
    return True


def _is_busy() -> bool:
    return any(map(_is_grpc_thread, threading.enumerate())) or any(
        name.startswith(_NATIVE) for name in _native_names()
    )


def _is_grpc_thread(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    return str(getattr(target, "__module__", "")).startswith(_IN_PYTHON)


def _native_names() -> list[str]:
    """What the kernel calls the threads of this process; nothing where it does not say."""
    names = []
    with contextlib.suppress(OSError):
        for task in _TASKS.iterdir():
            with contextlib.suppress(OSError):  # it has just ended
                names.append((task / "comm").read_text().strip())
    return names
