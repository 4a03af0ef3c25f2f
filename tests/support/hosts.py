"""Hosts made of namespaces: each has a network, a name, and shared memory of its own.

They are joined by a bridge in one more network, so that nothing of this machine's own is touched.
All is gone with `close`, whoever lives in it. Needs root.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

_TOOLS = ("ip", "nsenter", "unshare", "mount")
# What becomes the host: its name, its table of hosts, memory that no other host shares.
_BECOME = """
mount --make-rprivate /
mount -t tmpfs tmpfs /dev/shm
mount --bind "$1" /etc/hosts
hostname "$2"
shift 2
exec "$@"
"""


def why_not() -> str:
    """Why there can be no such hosts here; empty: there can."""
    if os.geteuid() != 0:
        return "hosts of namespaces need root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"hosts of namespaces need {', '.join(missing)}"
    made = subprocess.run(
        ["unshare", "--net", "--uts", "--mount", "true"], capture_output=True, check=False
    )
    return "" if made.returncode == 0 else "this machine makes no namespaces"


class Hosts:
    """`names` of hosts that reach each other by name: "host-1", "host-2", ..."""

    def __init__(self, count: int, folder: Path) -> None:
        self._mark = f"gl{secrets.token_hex(3)}"
        self._table = folder / "hosts"
        self.names = [f"host-{number}" for number in range(1, count + 1)]
        self.addresses = {name: f"10.214.0.{at}" for at, name in enumerate(self.names, 1)}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        lines = [f"{address} {name}" for name, address in self.addresses.items()]
        self._table.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        self._ip("netns", "add", self._mark)
        self._ip("-n", self._mark, "link", "add", "bridge0", "type", "bridge")
        self._ip("-n", self._mark, "link", "set", "bridge0", "up")
        for name in self.names:
            self._join(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        for name in self.names:
            for pid in self.alive(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        for name in [*(self._network(name) for name in self.names), self._mark]:
            self._ip("netns", "delete", name)

    def start(
        self, name: str, command: list[str], environment: Mapping[str, str], folder: Path
    ) -> subprocess.Popen[bytes]:
        """A process on the host, with pipes for its two streams."""
        become = ["sh", "-ec", _BECOME, "become", str(self._table), name]
        process = subprocess.Popen(
            [
                *("nsenter", f"--net=/run/netns/{self._network(name)}"),
                *("unshare", "--uts", "--mount", "--ipc", *become, *command),
            ],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._processes.append(process)
        return process

    def alive(self, name: str) -> list[int]:
        """Processes on the host that live, whoever has started them."""
        listed = self._ip("netns", "pids", self._network(name)).split()
        return [pid for pid in map(int, listed) if _state(pid) not in {"Z", "X", ""}]

    def cut_off(self, name: str) -> None:
        """Nothing reaches the host any more, and nobody is told."""
        self._ip("-n", self._mark, "link", "set", name, "down")

    def _network(self, name: str) -> str:
        return f"{self._mark}-{name}"

    def _join(self, name: str) -> None:
        network = self._network(name)
        self._ip("netns", "add", network)
        self._ip(
            *("-n", self._mark, "link", "add", name, "type", "veth"),
            *("peer", "name", "eth0", "netns", network),
        )
        self._ip("-n", self._mark, "link", "set", name, "master", "bridge0", "up")
        self._ip("-n", network, "address", "add", f"{self.addresses[name]}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            self._ip("-n", network, "link", "set", link, "up")

    @staticmethod
    def _ip(*words: str) -> str:
        return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
