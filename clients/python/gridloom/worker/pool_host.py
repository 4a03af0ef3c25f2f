"""The command of a pool's job: `python -m gridloom.worker.pool_host`.

What it is told stands in the environment: GRIDLOOM_POOL_ID, GRIDLOOM_POOL_SPEC (a `PoolSpec` in
base64), GRIDLOOM_FUNCTIONS_SOCKET (a unix socket; without it GRIDLOOM_FUNCTIONS_ADDRESS is called
by gRPC, and where that is not said, GRIDLOOM_ADDRESS), GRIDLOOM_TOKEN, and what every process of a
gang finds. `gridloom.worker.host` has the promises.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom.worker.bridge import Bridge
    from gridloom.worker.host_settings import HostSettings


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run the host that the environment describes; its exit code."""
    # Nothing that is imported is ever garbage: looking for it costs a tenth of the start.
    gc.disable()
    from gridloom.worker.host import PoolHost
    from gridloom.worker.host_settings import HostSettings
    from gridloom.worker.replicas import Replicas

    try:
        settings = HostSettings.from_environment(environment)
    except (KeyError, ValueError) as error:
        sys.stderr.write(f"this is no pool's job: {error!r}\n")
        return 2
    os.environ.update(settings.thread_limits)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    bridge = None
    if not settings.pool.socket_path:
        settings, bridge = _bridged(settings)
    PoolHost(settings, Replicas(environment), bridge).run()
    return 0


def _bridged(settings: HostSettings) -> tuple[HostSettings, Bridge]:
    """The settings with the socket of a bridge to the service's address."""
    from gridloom.worker.bridge import Bridge

    path = settings.pool.folder / "bridge.sock"
    pool = settings.pool._replace(socket_path=str(path))
    bridge = Bridge(path, pool.endpoint(pool.functions_address))
    return settings._replace(pool=pool), bridge


if __name__ == "__main__":
    sys.exit(main())
