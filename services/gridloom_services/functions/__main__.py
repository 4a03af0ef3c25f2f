"""`python -m gridloom_services.functions`: the functions service as a process of its own."""

from __future__ import annotations

import sys

from gridloom_services.common import grpc_environment


def main() -> int:
    """Serve until SIGTERM or SIGINT; or, told to `migrate`, do that."""
    grpc_environment.prepare()

    from gridloom_services.common.serve import run_alone
    from gridloom_services.functions.app import build
    from gridloom_services.functions.settings import FunctionsSettings
    from gridloom_services.functions.store.schema import SCHEMA

    return run_alone("functions", FunctionsSettings, build, SCHEMA)


if __name__ == "__main__":
    sys.exit(main())
