"""The variables that a process of ours sets before it imports gRPC, and takes back afterwards.

Import this first of all, call `prepare`, then import the rest.
"""

from __future__ import annotations

import os

# Half of a message's latency: gRPC's older poller instead of its event engine.
_OURS = {
    "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener",
    # We start processes by exec only; gRPC's fork handlers would complain about each.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    "GRPC_VERBOSITY": "ERROR",
}
_before: dict[str, str | None] = {}


def prepare() -> None:
    """Set gRPC's variables, unless the user has set them."""
    for name, value in _OURS.items():
        if name not in os.environ:
            _before[name] = None
            os.environ[name] = value


def release() -> None:
    """Take them back: processes of users' jobs must not inherit them.

    gRPC has read them when it was imported. To be called before anything copies the environment.
    """
    while _before:
        name, _ = _before.popitem()
        os.environ.pop(name, None)
