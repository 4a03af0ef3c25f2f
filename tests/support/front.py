"""The front as it is deployed: nginx with the project's own configuration.

The program is the machine's, or else one from Debian's packages, unpacked into a cache and never
installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from collections.abc import Mapping

START = Path(__file__).resolve().parents[2] / "services/front/start.sh"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gridloom-tests"
_PATIENCE_S = 60


def program() -> Path | None:
    """Where nginx is; None where it cannot be had."""
    if found := shutil.which("nginx"):
        return Path(found)
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return None
    folder = _CACHE / "nginx"
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = folder / "usr/sbin/nginx"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not unpacked.exists():
            _unpack(folder)
    return unpacked if unpacked.exists() else None


def _unpack(folder: Path) -> None:
    """Fetch the package and unpack it, where that is possible."""
    fetch = "apt-get download -qq nginx && dpkg -x nginx_*.deb ."
    with contextlib.suppress(subprocess.SubprocessError, OSError):
        subprocess.run(
            ["sh", "-c", fetch], cwd=folder, check=True, capture_output=True, timeout=_PATIENCE_S
        )


def free_port() -> int:
    """One that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Front:
    """nginx in front of these services, from entering to the end."""

    def __init__(
        self, program: Path, services: Mapping[str, str], folder: Path, **settings: object
    ) -> None:
        """`folder` is its own to write in; `settings` are GRIDLOOM_FRONT_... without the prefix."""
        self.port, self.status_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        ours = {"port": self.port, "status_port": self.status_port, **settings}
        self._environment = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "TMPDIR": str(folder),
            **{f"GRIDLOOM_FRONT_{name.upper()}": str(value) for name, value in ours.items()},
            **{f"GRIDLOOM_{name.upper()}_ADDRESS": where for name, where in services.items()},
        }

    def check(self) -> str:
        """What nginx has against the configuration; empty: nothing."""
        done = subprocess.run(
            ["sh", str(START), "check"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    def __enter__(self) -> Self:
        # A shell cannot catch what was ignored when it began, as INT is in a background's programs.
        self._process = subprocess.Popen(
            ["env", "--default-signal=INT", "sh", str(START)],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually_now(lambda: _answers(self.status_port) or self._process.poll() is not None)
        assert self._process.poll() is None, self.check()
        return self

    def __exit__(self, *_: object) -> None:
        # At once: whoever is still connected is not waited for.
        self._process.send_signal(signal.SIGINT)
        self._process.wait(_PATIENCE_S)


def _answers(port: int) -> bool:
    """It says that it is well; while it looks at its configuration, it only takes connections."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False
