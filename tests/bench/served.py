"""Calls to the services apart, each with a process of its own: `python -m tests.bench.own served`.

On a PostgreSQL that syncs what it commits, behind the front where nginx is to be had, with workers
that come by gRPC streams: as on a cluster, but all on one machine, with its processors.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gridloom.api.functions.v1 import pool_pb2

from tests.bench.calls import WORKERS, RawClient, Usage, chunks, flood, lone, nothing
from tests.support.apart import Apart
from tests.support.postgresql import PostgresServer, programs

if TYPE_CHECKING:
    from tests.bench.calls import Figures


def measured(*, quick: bool) -> Figures:
    """On services and a database of their own; nothing where no PostgreSQL is installed."""
    folder = programs()
    if folder is None:
        print("no PostgreSQL server is installed here: nothing is served")
        return
    server = PostgresServer(folder, durable=True)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="gridloom-bench-") as home,
            Apart(Path(home), server.new_database()) as services,
        ):
            yield from _figures(services, quick=quick)
    finally:
        server.stop()


def _figures(services: Apart, *, quick: bool) -> Figures:
    scale = 1 if quick else 5
    usage = Usage(services.running["functions"].pid)
    address = services.address.removeprefix("http://")
    client = RawClient(address, services.token, os.urandom(16))
    client.define(nothing, pool_pb2.PoolSpec(workers=WORKERS, python=sys.executable))
    list(flood(client, usage, 10_000, 1))
    for figures in (
        lone(client, 100 * scale),
        flood(client, usage, 10_000, 2 * scale),
        flood(client, usage, 100_000, 1),
        chunks(client, 10_000, 2 * scale),
    ):
        for name, value, unit in figures:
            yield f"served, {name.strip()}", value, unit
    client.close_pools()
    client.close()
