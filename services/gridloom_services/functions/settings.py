"""What the functions service may be told: `GRIDLOOM_FUNCTIONS_...`."""

from __future__ import annotations

from gridloom.values import dataclass

from gridloom_services.common.settings import bounded


@dataclass(frozen=True, slots=True)
class FunctionsSettings:
    """Where calls are kept, for how long, and how much clients may send at once."""

    # Empty: an SQLite file in the service's folder.
    database_url: str = ""
    # Workers of a pool that does not say how many; 0: as many as the platform has room for.
    workers: int = bounded(0, least=0)
    # How workers reach us: by a unix socket on this machine, or by gRPC streams from anywhere.
    worker_transport: str = bounded("socket", choices=("socket", "stream"))
    # Where streams go, as a URL ("http://functions:50051"); empty: the platform's public address.
    worker_address: str = ""
    # Whether pools end with this process also where calls run: these begin anew at its next start.
    # Else their processes wait for the next one, and end when none comes (after two minutes).
    ends_pools: bool = False
    # "3.11=gridloom/worker:0.1.0-py3.11,3.12=...": what pools run in that name no image of their
    # own. Empty: workers run with the client's own interpreter.
    worker_images: tuple[str, ...] = ()
    # Calls that a client may have sent and not yet seen acknowledged.
    window_calls: int = bounded(65_536, least=1)
    window_bytes: int = bounded(64 << 20, least=1 << 20)
    # Arguments and results over this go through `objects`.
    inline_limit_bytes: int = bounded(256 << 10, least=1024, most=8 << 20)
    payload_limit_bytes: int = bounded(64 << 30, least=1024)
    # A client that is away for longer will not send the rest of a map any more: so its readers are
    # told. The work of one that comes back goes on all the same.
    client_patience_s: float = bounded(15.0, least=0)
    # A worker that is silent for so long beyond a time-out is given up, and the call is over:
    # its host, which ends it two seconds after the time-out, stands still too.
    hung_after_s: float = bounded(10.0, least=0)
    # Results of ended groups, and sessions that were left behind, are kept for so long.
    retention_s: float = bounded(7 * 24 * 3600.0, least=0)
    prune_every_s: float = bounded(60.0, least=0.01)
    # How long the commit of a lone quick call waits for its result; 0: not at all. Where commits
    # take longer, as on PostgreSQL, it waits for as long as the last one took, 3 ms at most.
    hold_us: int = bounded(1000, least=0, most=100_000)
