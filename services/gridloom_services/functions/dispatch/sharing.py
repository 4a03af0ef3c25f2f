"""Work that lies behind long calls is asked back when other workers have nothing to do.

Batches follow the mean duration of a function's items. Where one item takes much longer than the
mean, or a chunk turns out to be the last and the largest, workers would stand idle beside one that
has a queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.functions.dispatch.core import Interruption

if TYPE_CHECKING:
    from gridloom_services.functions.dispatch.lease import Lease, Piece
    from gridloom_services.functions.dispatch.pool import PoolQueue
    from gridloom_services.functions.dispatch.worker import Worker

SILENT_S = 0.05
"""A worker that has not answered for so long is in a long call."""

OWED_S = 0.1
"""A worker that is owed more than this by estimate has enough to share."""

PATIENCE_S = 0.2
"""It is asked again after this."""

MOST_UNITS = 512


def may_share(pool: PoolQueue) -> bool:
    """Whether a look may be worth it soon: somebody is idle, somebody has more than it runs."""
    if pool.waits() or len(pool.workers) < 2:  # noqa: PLR2004  # with one, there is nobody to share
        return False
    return any(_is_idle(worker) for worker in pool.workers.values()) and any(
        _shareable(worker) > 1 for worker in pool.workers.values()
    )


def ask_back(pool: PoolQueue, now: float) -> list[Interruption]:
    """Ask the workers that hold most for the later half of it, one for each idle worker.

    What they have not begun they give back, and it waits again; the rest they answer as before.
    """
    if not may_share(pool):
        return []
    idle = sum(_is_idle(worker) for worker in pool.workers.values())
    rich = [worker for worker in pool.workers.values() if _has_enough(worker, now)]
    rich.sort(key=_owed_s, reverse=True)
    notices: list[Interruption] = []
    for worker in rich[:idle]:
        worker.asked_at = now
        notices += _later_half(worker)
    return notices


def _is_idle(worker: Worker) -> bool:
    return not (worker.leases or worker.draining or worker.reserved or worker.blocked)


def _shareable(worker: Worker) -> int:
    """Positions of which all but the first could run elsewhere."""
    if worker.slots > 1 or worker.alone:
        return 0
    return sum(
        lease.positions for lease in worker.leases.values() if not lease.lane.spec.at_most_once
    )


def _owed_s(worker: Worker) -> float:
    leases = worker.leases.values()
    return sum(lease.positions * (lease.lane.estimate.item_us or 0.0) for lease in leases) / 1e6


def _has_enough(worker: Worker, now: float) -> bool:
    if _shareable(worker) < 2 or now - worker.asked_at < PATIENCE_S:  # noqa: PLR2004  # one runs
        return False
    return now - worker.progress_at > SILENT_S or _owed_s(worker) > OWED_S


def _later_half(worker: Worker) -> list[Interruption]:
    keep = -(-_shareable(worker) // 2)
    notices: list[Interruption] = []
    for number in sorted(worker.leases):
        lease = worker.leases[number]
        if lease.lane.spec.at_most_once:
            continue
        for piece in lease.open:
            start = piece.span.start + min(keep, piece.span.size)
            keep -= start - piece.span.start
            if start < piece.span.stop:
                notices += _notices(worker, lease, piece, start)
    return notices[:MOST_UNITS]


def _notices(worker: Worker, lease: Lease, piece: Piece, start: int) -> list[Interruption]:
    stop = min(piece.span.stop, start + MOST_UNITS)
    lease.ask_back(piece, start, stop)
    if piece.span.block.items:
        return [Interruption(worker.id, lease.number, piece.unit, (start, stop - start))]
    shift = piece.unit - piece.span.start
    return [
        Interruption(worker.id, lease.number, position + shift) for position in range(start, stop)
    ]
