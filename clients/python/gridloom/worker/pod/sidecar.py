"""Stands beside a command in its pod, from before its start until after its end.

`python -m gridloom.worker.pod.sidecar`. It keeps the time limit and the grace, keeps streams within
their size, notes what the command uses, and when the command is over brings out its outputs and its
streams. Its last word is its container's termination message (`message.Farewell`). The kubelet is
the command's parent: how it ended is the kubelet's to say.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gridloom.worker.pod import order as orders
from gridloom.worker.pod.absence import Absence, search_domains
from gridloom.worker.pod.command import Command, find_command
from gridloom.worker.pod.message import MOST_BYTES, Farewell
from gridloom.worker.pod.store import store_list, store_outputs, store_streams
from gridloom.worker.pod.usage import ContainerUsage
from gridloom.worker.supervision import handover
from gridloom.worker.supervision.records import write_whole
from gridloom.worker.supervision.reports import Reports
from gridloom.worker.supervision.streamlimit import StreamLimit

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom.worker.pod.order import Order
    from gridloom.worker.pod.store import FileStore

_SHORTEST_S = 0.02
_LONGEST_S = 0.25
# How long who began to listen too late waits for a word that may have been said before.
_UNHEARD_S = 2.0
# How often who is told to go and cannot asks whether the platform is there at all.
_ASK_AGAIN_S = 1.0


class Sidecar:
    """One command's companion.

    `folder` is where they meet (for replicas that share a process it must be the current one),
    `told` where orders appear.
    """

    def __init__(self, order: Order, store: FileStore, folder: Path, told: Path) -> None:
        self._order = order
        self._store = store
        self._folder = folder
        self._told = told
        self._limits: dict[str, StreamLimit] = {}
        self._cause: tuple[str, str] | None = None
        self._kill_at: float | None = None
        self._grace_s: float | None = None
        self._is_deleted = False
        self._replicas = order.replicas
        self._reports: Reports | None = None
        # Told to go: the command is over, or never was.
        self.is_dismissed = False

    def run(self) -> Farewell:
        """Do all of it; what to leave behind."""
        if self._replicas:
            self._write_replicas()
            self._reports = Reports()
            (self._folder / orders.READY).touch()
        command = self._await_command()
        if command is None:
            return Farewell()
        usage = ContainerUsage(command.pid)
        pause_s = _SHORTEST_S
        while not command.wait(pause_s):
            self._look(command)
            usage.look()
            pause_s = min(pause_s * 1.5, _LONGEST_S, self._until_due(command))
        usage.look()
        return self._farewell(usage)

    def _await_command(self) -> Command | None:
        pause_s = _SHORTEST_S
        while (command := find_command(self._folder)) is None and not self.is_dismissed:
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.2, _LONGEST_S)
        return command

    # ---- while the command runs

    def _look(self, command: Command) -> None:
        now = time.monotonic()
        self._heed_stop(command, now)
        self._heed_deletion(now)
        limit_s = self._order.time_limit_s
        if limit_s is not None and now >= command.began + limit_s:
            reason = f"the time limit of {limit_s:g} s"
            self._end(command, handover.TIME_LIMIT, reason, now + self._order.grace_s)
        if self._kill_at is not None and now >= self._kill_at:
            command.kill()
        self._keep_replicas(command)
        self._keep_streams()

    def _heed_stop(self, command: Command, now: float) -> None:
        stop = orders.read_stop(self._told)
        # Grace counts from when an order was read: the scheduler's clock may differ from this one.
        if stop is not None and (self._grace_s is None or stop.grace_s < self._grace_s):
            self._grace_s = stop.grace_s
            self._end(command, handover.CANCELLED, stop.reason, now + stop.grace_s)

    def _heed_deletion(self, now: float) -> None:
        """Keep a command to its grace where the pod itself is deleted: the kubelet has asked it.

        Its own patience is longer, so that what a command leaves can be brought out afterwards.
        """
        if not self._is_deleted and (self._folder / orders.DELETED).exists():
            self._is_deleted = True
            self._kill_by(now + self._order.grace_s)

    def _kill_by(self, at: float) -> None:
        self._kill_at = at if self._kill_at is None else min(self._kill_at, at)

    def _end(self, command: Command, failure_class: str, reason: str, kill_at: float) -> None:
        """Ask the command to end. The first cause stands; a later one may shorten the grace."""
        self._kill_by(kill_at)
        if self._cause is None:
            self._cause = (failure_class, reason)
            command.terminate()

    def _until_due(self, command: Command) -> float:
        limit_s = self._order.time_limit_s
        due = [at for at in (self._kill_at,) if at is not None]
        if limit_s is not None and self._cause is None:
            due.append(command.began + limit_s)
        return max(_SHORTEST_S, min(due, default=time.monotonic() + 1) - time.monotonic())

    def _keep_streams(self) -> None:
        for name in (handover.STDOUT, handover.STDERR):
            if name not in self._limits and (self._folder / name).exists():
                path = self._folder / name
                self._limits[name] = StreamLimit(path, self._order.log_limit_bytes)
        for limit in self._limits.values():
            with contextlib.suppress(OSError):  # a full disk: nothing is cut
                limit.look()

    def _keep_replicas(self, command: Command) -> None:
        """Tell the process which replicas should be there, and pass on which are over."""
        if self._reports is None:
            return
        before = set(self._reports.ended)
        self._reports.read()
        for index in self._reports.ended.keys() - before:
            end = self._reports.ended[index]
            words = (index, end.exit_code, end.signal, end.failure_class, end.ended_at)
            sys.stdout.write(" ".join(("ended", *map(str, words))) + "\n")
            sys.stdout.flush()
        wanted = orders.read_replicas(self._told)
        if wanted is not None and wanted != self._replicas:
            self._replicas = wanted
            self._write_replicas()
            if self._reports.wants_notice:
                command.notify()

    def _write_replicas(self) -> None:
        line = " ".join(map(str, self._replicas)) + "\n"
        write_whole(self._folder / handover.REPLICAS, line.encode(), durable=False)

    # ---- afterwards

    def _farewell(self, usage: ContainerUsage) -> Farewell:
        if self._reports is not None:
            self._reports.read()
        failure_class, reason = self._cause or (handover.NO_FAILURE, "")
        farewell = Farewell(failure_class, reason, *usage.latest, ended=self._ended())
        try:
            outputs = store_outputs(self._store, self._order.workdir, self._order.outputs)
            farewell = farewell.with_outputs(outputs)
            if len(farewell.to_text().encode()) > MOST_BYTES // 2:
                digest = store_list(self._store, outputs, self._folder / "outputs.json")
                farewell = farewell.with_outputs((), digest)
        except Exception as error:  # noqa: BLE001  # whatever a store or a disk fails with
            farewell = farewell.with_trouble(f"its outputs could not be stored: {error}")
        try:
            return farewell.with_logs(store_streams(self._store, self._folder))
        except Exception as error:  # noqa: BLE001  # logs that are lost make no failure
            sys.stderr.write(f"the streams could not be stored: {error}\n")
        return farewell

    def _ended(self) -> dict[str, tuple[int, int, str, float]]:
        ended = {} if self._reports is None else self._reports.ended
        return {
            index: (end.exit_code, end.signal, end.failure_class, end.ended_at)
            for index, end in ended.items()
        }


def main() -> int:
    """Entry. It stays until it is told to go: a sidecar that ends by itself is begun anew.

    The shell that became this process ignores SIGTERM, so that a command which is over before this
    one listens does not end it unheard. Then the word is not said again: it goes by itself.
    """
    from gridloom.worker.pod.objects import PlatformObjects

    order = orders.read_order(os.environ)
    os.chdir(orders.RUN)
    sidecar = Sidecar(order, PlatformObjects(os.environ), orders.RUN, orders.ORDERS)

    def dismiss(_number: int, _frame: object) -> None:
        sidecar.is_dismissed = True

    signal.signal(signal.SIGTERM, dismiss)
    threading.Thread(target=_leave_what_is_left, args=(sidecar,), daemon=True).start()
    command = find_command(orders.RUN)
    came_late = command is not None and command.is_over
    sidecar.run().write(orders.MESSAGE)
    leave_at = time.monotonic() + (_UNHEARD_S if came_late else math.inf)
    while not sidecar.is_dismissed and time.monotonic() < leave_at:
        time.sleep(_SHORTEST_S)
    return 0


def _leave_what_is_left(sidecar: Sidecar) -> None:
    """End at once where nothing can be brought out any more: the platform was uninstalled."""
    address = urlsplit(os.environ.get("GRIDLOOM_ADDRESS", ""))
    absence = Absence(address.hostname or "localhost", search_domains())
    while not (sidecar.is_dismissed and absence.is_certain()):
        time.sleep(_ASK_AGAIN_S)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
