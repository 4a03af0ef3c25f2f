"""`python -m gridloom_services.mpi`: the mpi service as a process of its own."""

from __future__ import annotations

import sys

from gridloom_services.common import grpc_environment


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    grpc_environment.prepare()

    from gridloom_services.common.serve import run_alone
    from gridloom_services.mpi.app import build
    from gridloom_services.mpi.settings import MpiSettings

    return run_alone("mpi", MpiSettings, build, None)


if __name__ == "__main__":
    sys.exit(main())
