"""`python -m gridloom_services.embedded --home DIR`: the platform, in the foreground.

The SDK starts it detached, see `gridloom/home.py`.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from gridloom_services.common import grpc_environment


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line; None where nothing was said, so that the environment counts."""
    parser = argparse.ArgumentParser(
        prog="python -m gridloom_services.embedded",
        description="Run Gridloom here: every service in this process, on one port.",
    )
    add = parser.add_argument
    add("--home", type=Path, help="folder of all state (GRIDLOOM_HOME, else ~/.gridloom)")
    add("--port", type=int, help="0: the one of last time, else any free one (the default)")
    add("--cpus", type=float, help="processors to offer; more than there are is oversubscribed")
    add("--memory", type=int, metavar="BYTES", help="memory to offer")
    add("--idle-timeout", type=float, metavar="S", help="end after so long without work; 0: never")
    add("--workers", type=int, help="most workers of a pool that does not say how many")
    return parser.parse_args(words)


def main() -> int:
    """Serve until SIGTERM, SIGINT or idleness; the exit code."""
    asked = arguments()
    # What is imported stays: to search it for garbage costs a tenth of the start. See `Platform`.
    gc.disable()
    grpc_environment.prepare()

    from gridloom_services.embedded.app import run

    return run(vars(asked))


if __name__ == "__main__":
    sys.exit(main())
