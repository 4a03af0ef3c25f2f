"""What can happen to a platform and its client. Each blow returns whether it fell on something."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

from gridloom.home import EmbeddedPlatform
from gridloom.worker.watch import TIMEOUT_GRACE_NS

from tests.crash.harness.ground import CLIENT_PATIENCE_S, HUNG_AFTER_S
from tests.crash.harness.work import TIMED_S
from tests.support.chaos import KINDS, kill, platform_pid, processes_of
from tests.support.small_disk import fill

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crash.harness.ground import Ground

_COMMIT_PATIENCE_S = 1.0
# How long others wait for each: the host for a call beyond its time-out, the platform for the pool
# beyond that, the platform for a client that it believes away.
_WAITED_FOR_S = {
    "worker": TIMED_S + TIMEOUT_GRACE_NS / 1e9,
    "pool": TIMED_S + HUNG_AFTER_S + 1.0,  # it looks once a second
    "platform": CLIENT_PATIENCE_S,
}
_LONGER_S = (0.2, 1.5)


def of_platform(ground: Ground) -> bool:
    """SIGKILL of the platform."""
    return _slain(ground, platform_pid(ground.home))


def of_commit(ground: Ground) -> bool:
    """SIGKILL of the platform while a store is being written."""
    pid, before = platform_pid(ground.home), _stores(ground)
    ends_at = time.monotonic() + _COMMIT_PATIENCE_S
    while pid is not None and _stores(ground) == before:
        if time.monotonic() > ends_at:
            return False
    time.sleep(ground.dice.uniform(0, 0.001))
    return _slain(ground, pid)


def of_worker(ground: Ground) -> bool:
    """SIGKILL of one worker."""
    pids = _named(ground, "worker")
    return bool(pids) and kill(ground.dice.choice(pids))


def of_all_workers(ground: Ground) -> bool:
    """SIGKILL of every worker at once."""
    return sum(kill(pid) for pid in _named(ground, "worker")) > 0


def of_pool_host(ground: Ground) -> bool:
    """SIGKILL of a pool's host."""
    pids = _named(ground, "pool host")
    return bool(pids) and kill(ground.dice.choice(pids))


def of_supervisor(ground: Ground) -> bool:
    """SIGKILL of what watches a job's process."""
    pids = _named(ground, "supervisor")
    return bool(pids) and kill(ground.dice.choice(pids))


def of_client(ground: Ground) -> bool:
    """SIGKILL of the client; another one takes up its work."""
    client = ground.client
    if client is None or client.poll() is not None:
        return False
    client.kill()
    client.wait()
    time.sleep(ground.dice.choice((0, 0, 0.5)))
    ground.start_client()
    return True


def of_connection(ground: Ground) -> bool:
    """Every connection between client and platform breaks."""
    return ground.relay is not None and ground.relay.cut() > 0


def of_frost(ground: Ground) -> bool:
    """Something stands still for longer than others wait for it, and then goes on as before.

    A worker in a call with a time-out; a pool as a whole, host and workers; or the platform.
    """
    workers, hosts = _named(ground, "worker"), _named(ground, "pool host")
    platform = platform_pid(ground.home)
    choices = [("worker", [pid]) for pid in workers] + [("pool", workers + hosts)] * bool(hosts)
    choices += [("platform", [platform])] * 2 if platform is not None else []
    if not choices:
        return False
    victim, pids = ground.dice.choice(choices)
    stopped = sum(_told(pid, signal.SIGSTOP) for pid in pids)
    time.sleep(_WAITED_FOR_S[victim] + ground.dice.uniform(*_LONGER_S))
    for pid in pids:
        _told(pid, signal.SIGCONT)
    return stopped > 0


def of_memory(ground: Ground) -> bool:
    """Some of the shared memory is gone."""
    found = ground.segments()
    for path in ground.dice.sample(found, -(-len(found) // 2)):
        path.unlink(missing_ok=True)
    return bool(found)


def of_full_disk(ground: Ground) -> bool:
    """There is no room for a while. None starts in that time: it says so, and that is right."""
    if ground.disk is None or EmbeddedPlatform(ground.home).running() is None:
        return False
    filler = fill(ground.disk)
    time.sleep(ground.dice.uniform(0.2, 1.5))
    filler.unlink()
    return True


def of_failing_fsync(ground: Ground) -> bool:
    """The disk does not keep what the platform writes: it has to end, and come back."""
    pid = platform_pid(ground.home)
    if pid is None or ground.shim is None:
        return False
    ground.fsync_flag.write_text(str(pid))
    ends_at = time.monotonic() + ground.dice.uniform(0.2, 1.0)
    while time.monotonic() < ends_at and platform_pid(ground.home) == pid:
        time.sleep(0.01)
    ground.fsync_flag.unlink()
    ground.revive()
    return True


def of_power_loss(ground: Ground) -> bool:
    """Everything stops at once, and the disk has what it was made to keep; all begins anew."""
    client = ground.client
    if ground.power is None or client is None or platform_pid(ground.home) is None:
        return False
    client.kill()
    client.wait()
    while alive := processes_of(ground.home):
        for pid in alive:
            kill(pid)
    shutil.rmtree(ground.memory, ignore_errors=True)
    ground.lost += ground.power.lose_power(ground.dice)
    ground.start_client()
    return True


BLOWS: dict[str, Callable[[Ground], bool]] = {
    "platform": of_platform,
    "commit": of_commit,
    "worker": of_worker,
    "all workers": of_all_workers,
    "pool host": of_pool_host,
    "supervisor": of_supervisor,
    "client": of_client,
    "connection": of_connection,
    "frost": of_frost,
    "memory": of_memory,
    "full disk": of_full_disk,
    "fsync": of_failing_fsync,
    "power": of_power_loss,
}


def _named(ground: Ground, kind: str) -> list[int]:
    found = processes_of(ground.home).items()
    return sorted(pid for pid, name in found if name == KINDS[kind])


def _told(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _slain(ground: Ground, pid: int | None) -> bool:
    if pid is None or not kill(pid):
        return False
    # Its port answers until it is really gone.
    while platform_pid(ground.home) == pid:
        time.sleep(0.005)
    ground.revive()
    return True


def _stores(ground: Ground) -> list[tuple[int, int]]:
    found = []
    for path in ground.home.glob("*/*.db-wal"):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((status.st_size, status.st_mtime_ns))
    return found
