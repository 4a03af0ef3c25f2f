"""`python -m gridloom_services.objects`: the objects service as a process of its own."""

from __future__ import annotations

import sys

from gridloom_services.common import grpc_environment


def main() -> int:
    """Serve until SIGTERM or SIGINT; or, told to `migrate`, do that."""
    grpc_environment.prepare()

    from gridloom_services.common.serve import run_alone
    from gridloom_services.objects.app import build
    from gridloom_services.objects.schema import SCHEMA
    from gridloom_services.objects.settings import ObjectsSettings

    return run_alone("objects", ObjectsSettings, build, SCHEMA)


if __name__ == "__main__":
    sys.exit(main())
