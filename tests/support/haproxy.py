"""The front as it is deployed: HAProxy with the project's own configuration.

The program is the machine's, or else one from Debian's packages, unpacked into a cache and never
installed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIGURATION = Path(__file__).resolve().parents[2] / "services/front/haproxy.cfg"
_PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gridloom-tests"
_PATIENCE_S = 60


def program() -> list[str]:
    """The words that run HAProxy; empty where it cannot be had."""
    if found := shutil.which("haproxy"):
        return [found]
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return []
    folder = _CACHE / "haproxy"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "usr/sbin/haproxy").exists() and not _unpacked(folder):
            return []
    libraries = ":".join(map(str, (folder / "usr/lib").glob("*-linux-gnu")))
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(folder / "usr/sbin/haproxy")]


def _unpacked(folder: Path) -> bool:
    """Fetch the packages and unpack them; False where that is not possible."""
    try:
        for command in (
            ["apt-get", "download", "-qq", *_PACKAGES],
            *(["sh", "-c", f"dpkg -x {name}_*.deb ."] for name in _PACKAGES),
        ):
            subprocess.run(
                command, cwd=folder, check=True, capture_output=True, timeout=_PATIENCE_S
            )
    except (subprocess.SubprocessError, OSError):
        return False
    return True


def free_port() -> int:
    """One that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Front:
    """HAProxy in front of these services, from entering to the end."""

    def __init__(
        self, words: list[str], services: Mapping[str, str], settings: Mapping[str, str]
    ) -> None:
        self.port, self.status_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._words = words
        self._environment = {
            "PATH": os.environ["PATH"],
            "GRIDLOOM_FRONT_PORT": str(self.port),
            "GRIDLOOM_FRONT_STATUS_PORT": str(self.status_port),
            **{f"GRIDLOOM_{name.upper()}_ADDRESS": where for name, where in services.items()},
            **settings,
        }

    def check(self) -> str:
        """What HAProxy thinks of the configuration."""
        command = [*self._words, "-c", "-f", str(CONFIGURATION)]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [*self._words, "-db", "-f", str(CONFIGURATION)],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually_now(lambda: _answers(self.status_port) or self._process.poll() is not None)
        assert self._process.poll() is None, self.check()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(_PATIENCE_S)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
