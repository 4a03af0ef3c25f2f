"""The embedded platform: where it lives, whether it runs, and how it is started.

A home is a folder ($GRIDLOOM_HOME, else ~/.gridloom). The platform in it writes `platform.json`
last of all when it is ready, and holds `lock` as long as it lives, so that a second one on the same
folder cannot be. Clients that find none start one, detached; of several at once one does and the
others wait for it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom.endpoint import Endpoint
from gridloom.errors import (
    InvalidRequestError,
    NotInstalledError,
    UnavailableError,
    VersionMismatchError,
)
from gridloom.values import dataclass
from gridloom.version import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODULE = "gridloom_services.embedded"
START_PATIENCE_S = 60.0
_LOOK_EVERY_S = 0.005
_CONNECT_PATIENCE_S = 2.0
_LOG_LINES_SHOWN = 15
# How a platform that cannot serve says why, for people.
_COMPLAINT = "gridloom: "

# Of /proc/PID/stat, after the state.
_THREADS = 16
# What a job's processes are told belongs to them, not to a platform that one of them starts.
_GANG_VARIABLES = (
    "GRIDLOOM_ADDRESS",
    "GRIDLOOM_TOKEN",
    "GRIDLOOM_JOB_ID",
    "GRIDLOOM_ATTEMPT",
    "GRIDLOOM_ROLE",
)


def default_home(environment: Mapping[str, str] = os.environ) -> Path:
    """$GRIDLOOM_HOME, else ~/.gridloom."""
    given = environment.get("GRIDLOOM_HOME")
    return Path(given).expanduser().absolute() if given else Path.home() / ".gridloom"


@dataclass(frozen=True, slots=True)
class PlatformRecord:
    """What a platform says about itself in `platform.json`."""

    address: str
    pid: int
    started: float
    token_file: str
    version: str
    protocol: int
    socket: str = ""
    pipes: str = ""

    @property
    def is_answering(self) -> bool:
        """Its process lives and its port takes connections."""
        if not _is_alive(self.pid):
            return False
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=_CONNECT_PATIENCE_S).close()
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What `gridloom up` may ask of the platform that it starts; None: the platform chooses."""

    port: int | None = None
    cpus: float | None = None
    memory_bytes: int | None = None
    idle_timeout_s: float | None = None
    workers: int | None = None

    def arguments(self) -> list[str]:
        """As words of the command line."""
        given = {
            "--port": self.port,
            "--cpus": self.cpus,
            "--memory": self.memory_bytes,
            "--idle-timeout": self.idle_timeout_s,
            "--workers": self.workers,
        }
        return [
            word
            for option, value in given.items()
            if value is not None
            for word in (option, f"{value:g}" if isinstance(value, float) else str(value))
        ]


@dataclass(frozen=True, slots=True)
class EmbeddedPlatform:
    """The platform of one home folder: a locator that starts what it does not find."""

    home: Path
    options: StartOptions = StartOptions()

    @property
    def name(self) -> str:
        """Its home folder."""
        return str(self.home)

    @property
    def log_file(self) -> Path:
        """Where the platform writes what happens to it."""
        return self.home / "log" / "platform.log"

    def record(self) -> PlatformRecord | None:
        """What the last platform here has left in `platform.json`; it may be dead."""
        try:
            said: dict[str, Any] = json.loads((self.home / "platform.json").read_text("utf-8"))
            return PlatformRecord(**{n: said[n] for n in PlatformRecord.__slots__ if n in said})
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, TypeError):
            return None

    def running(self) -> PlatformRecord | None:
        """The platform that is here and answers, if one is."""
        record = self.record()
        return record if record is not None and record.is_answering else None

    def find(self, *, may_start: bool) -> Endpoint:
        """The platform here; one that crashed is started again even where none may be started."""
        record = self.record()
        if record is not None and record.is_answering:
            return self._endpoint(record)
        if not may_start and record is None:
            raise UnavailableError(
                f"no platform runs on {self.home}: start it with `gridloom up`",
                home=str(self.home),
            )
        return self._endpoint(self.start())

    def start(self) -> PlatformRecord:
        """Start the platform, unless another process does so first; answers when it is ready."""
        if importlib.util.find_spec("gridloom_services") is None:
            raise NotInstalledError(
                "no platform is installed here: `pip install gridloom-platform`, or connect to one"
                ' with gridloom.connect("ADDRESS") or `gridloom contexts set`'
            )
        self._make_folders()
        deadline = time.monotonic() + START_PATIENCE_S
        with self._sole_starter(deadline):
            log_bytes = self.log_file.stat().st_size if self.log_file.exists() else 0
            return self.running() or self._ready(self._spawned(), deadline, log_bytes)

    def _make_folders(self) -> None:
        try:
            self.home.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.home, self.log_file.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise InvalidRequestError(
                f"{self.home} cannot be the platform's home ({error.strerror}): choose another"
                " folder with GRIDLOOM_HOME, --home or gridloom.connect(home=...)",
                field="home",
                given=str(self.home),
                allowed="a folder that you may write to",
            ) from error

    @contextmanager
    def _sole_starter(self, deadline: float) -> Iterator[None]:
        """One starter at a time; the lock goes with its holder, however that ends."""
        with (self.home / "start.lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise UnavailableError(
                            f"another process is starting the platform on {self.home}, for over"
                            f" {START_PATIENCE_S:g} s now"
                        ) from None
                    time.sleep(_LOOK_EVERY_S)
            yield

    def _spawned(self) -> subprocess.Popen[bytes]:
        environment = {k: v for k, v in os.environ.items() if k not in _GANG_VARIABLES}
        command = [sys.executable, "-m", MODULE, "--home", str(self.home)]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [*command, *self.options.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env=environment,
            )

    def _ready(
        self, process: subprocess.Popen[bytes], deadline: float, log_bytes: int
    ) -> PlatformRecord:
        """Wait for what the new process, or another platform that was faster, writes.

        What the log had before, `log_bytes` of it, has nothing to do with this start.
        """
        while time.monotonic() < deadline:
            has_ended = process.poll() is not None
            record = self.running()
            if record is not None:
                _leave(process)
                return record
            if process.returncode == -signal.SIGKILL:  # no fault of its own: another one
                process = self._spawned()
            elif has_ended:
                code = process.returncode
                raise self._failure(f"did not start (exit code {code})", log_bytes)
            time.sleep(_LOOK_EVERY_S)
        process.terminate()
        process.wait()
        raise self._failure(f"was not ready after {START_PATIENCE_S:g} s", log_bytes)

    def _failure(self, what: str, log_bytes: int) -> UnavailableError:
        return UnavailableError(
            f"the platform on {self.home} {what}: {self._said_since(log_bytes)}",
            home=str(self.home),
            log=str(self.log_file),
        )

    def _said_since(self, log_bytes: int) -> str:
        """Its own complaint, if it made one; else the last lines of its log."""
        try:
            lines = self.log_file.read_bytes()[log_bytes:].decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            lines = []
        complaints = [n for n, line in enumerate(lines) if line.startswith(_COMPLAINT)]
        if complaints:
            return "\n".join(lines[complaints[-1] :]).removeprefix(_COMPLAINT)
        shown = "\n".join(f"  {line}" for line in lines[-_LOG_LINES_SHOWN:]) or "  (empty)"
        return f"the end of {self.log_file}:\n{shown}"

    def _endpoint(self, record: PlatformRecord) -> Endpoint:
        if record.protocol != PROTOCOL:
            raise VersionMismatchError(
                f"the platform on {self.home} is Gridloom {record.version} (protocol"
                f" {record.protocol}), this client speaks protocol {PROTOCOL}: stop it with"
                " `gridloom down` and use one version of both",
                platform=record.version,
            )
        try:
            token = Path(record.token_file).read_text("ascii").strip()
        except PermissionError:
            raise UnavailableError(
                f"the platform on {self.home} belongs to another user: {record.token_file} cannot"
                " be read"
            ) from None
        return Endpoint(
            record.address,
            token=token,
            socket=_if_there(record.socket),
            pipes=_if_there(record.pipes),
        )


def _if_there(path: str) -> str:
    return path if path and Path(path).is_socket() else ""


def _is_alive(pid: int) -> bool:
    """Whether any of it runs; that its parent has yet to hear of its end says nothing."""
    try:
        os.kill(pid, 0)
        said = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except ProcessLookupError:
        return False
    except OSError:  # another user's process, or no Linux
        return True
    state, *others = said.rpartition(")")[2].split()
    # The first thread may be over while others hold the port and the folder still.
    return state != "Z" or int(others[_THREADS]) > 1


def _leave(process: subprocess.Popen[bytes]) -> None:
    """It outlives its starter, unless it ends first: then it must not stay a zombie."""
    threading.Thread(target=process.wait, name="gridloom-platform-end", daemon=True).start()
