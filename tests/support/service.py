"""A service as a process of its own, as people run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    import signal
    from pathlib import Path

# What a service started may have its stderr still, when a failed test leaves it behind.
_STDERR_PATIENCE_S = 5


class ServiceProcess:
    """`python -m gridloom_services.NAME` on a home; ready when this is entered, ended at the end.

    `settings` are its environment, without the prefix "GRIDLOOM_".
    """

    def __init__(self, name: str, home: Path, *words: str, **settings: object) -> None:
        self.home = home
        self.lines: list[str] = []
        ours = {f"GRIDLOOM_{key.upper()}": str(value) for key, value in settings.items()}
        others = {k: v for k, v in os.environ.items() if not k.startswith("GRIDLOOM_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"gridloom_services.{name}", *words],
            env=others | {"GRIDLOOM_HOME": str(home)} | ours,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def address(self) -> str:
        """HOST:PORT, once it is ready."""
        return str(self.said("ready")["address"])

    @property
    def token(self) -> str:
        """What its users show."""
        return (self.home / "token").read_text()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """For each call."""
        return (("authorization", f"Bearer {self.token}"),)

    def log(self) -> list[str]:
        """What it has logged so far."""
        return list(self.lines)

    def said(self, message: str) -> dict[str, Any]:
        """The first record of its log with this message; empty if there is none yet."""
        records = (json.loads(line) for line in self.log() if line.startswith("{"))
        return next((r for r in records if r["message"] == message), {})

    def until(self, message: str) -> Self:
        """Wait until its log says so."""
        eventually_now(lambda: self.said(message) or not self._reader.is_alive())
        assert self.said(message), "\n".join([*self.log(), *self.lines])
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def has_ended(self) -> bool:
        """It runs no more."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._process.kill()
        self.wait()

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        code = self._process.wait(60)
        self._reader.join(_STDERR_PATIENCE_S)
        return code

    def __enter__(self) -> Self:
        try:
            return self.until("ready")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self.wait()
        finally:
            if self._process.poll() is None:
                self.kill()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            for line in stderr:
                self.lines.append(line.rstrip("\n"))


class EmbeddedProcess(ServiceProcess):
    """The embedded platform; its log is a file, which begins anew with each process here."""

    def __init__(self, home: Path, *words: str, **settings: object) -> None:
        self._log_file = home / "log" / "platform.log"
        self._begin = self._log_file.stat().st_size if self._log_file.exists() else 0
        super().__init__("embedded", home, *words, **settings)

    def log(self) -> list[str]:
        """Of this process."""
        if not self._log_file.exists():
            return []
        return self._log_file.read_bytes()[self._begin :].decode().splitlines()

    def record(self) -> dict[str, Any]:
        """What `platform.json` says."""
        found: dict[str, Any] = json.loads((self.home / "platform.json").read_text())
        return found

    def until_ready(self) -> Self:
        """Wait for the record, which comes last; or for the end, of one that is idle at once."""
        self.until("ready")
        record = self.home / "platform.json"
        eventually_now(lambda: record.exists() or self.said("stopping"))
        return self

    def __enter__(self) -> Self:
        super().__enter__()
        return self.until_ready()
