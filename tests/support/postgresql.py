"""A PostgreSQL server of the tests' own, reached by a socket in the folder that holds its data.

It listens on no network port, so nothing outside can clash with it or see it, and it ends with the
process that started it, however that ends.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

USER = "gridloom"
_PREFIX = "gridloom-pg-"
_START_PATIENCE_S = 60.0
_PR_SET_PDEATHSIG = 1

# Nothing of the tests must survive a power failure.
_FLEETING = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "16MB",
    "max_connections": "30",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}


def programs() -> Path | None:
    """The folder with `initdb` and `postgres`; None where no server is installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


class PostgresServer:
    """Runs from its making until `stop`. A durable one syncs what it commits."""

    def __init__(self, folder_of_programs: Path, *, durable: bool = False) -> None:
        self._programs = folder_of_programs
        self._settings = _SETTINGS if durable else {**_SETTINGS, **_FLEETING}
        _remove_orphans()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._numbers = itertools.count(1)
        # The server refuses to run as root.
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self._account is not None:
            os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        try:
            self._process = self._started()
        except BaseException:
            shutil.rmtree(self._folder)
            raise

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        name = url.split("?", maxsplit=1)[0].rpartition("/")[2]
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        """End the server and remove its folder."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        shutil.rmtree(self._folder)

    def restart(self) -> None:
        """End it as an upgrade of the server does, whoever is connected; and start it again."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        self._process = self._serving()

    def _started(self) -> subprocess.Popen[bytes]:
        data = str(self._folder / "data")
        initdb = [str(self._programs / "initdb"), "--no-sync", "--no-locale", "-E", "UTF8"]
        self._run([*initdb, "-A", "trust", "-U", USER, "-D", data]).check_returncode()
        return self._serving()

    def _serving(self) -> subprocess.Popen[bytes]:
        data = str(self._folder / "data")
        words = [word for key, value in self._settings.items() for word in ("-c", f"{key}={value}")]
        command = [str(self._programs / "postgres"), "-D", data, "-k", str(self._folder), *words]
        process = subprocess.Popen(
            command,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_parent,  # noqa: PLW1509  # one call into libc, no locks
            **self._identity(),
        )
        self._wait_until_ready(process)
        return process

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_PATIENCE_S
        while self._run([str(self._programs / "pg_isready"), "-h", str(self._folder)]).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"PostgreSQL did not start: exit code {process.wait()}")
            time.sleep(0.05)

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command, cwd=self._folder, capture_output=True, check=False, **self._identity()
        )

    def _identity(self) -> dict[str, object]:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://{USER}@/{database}?host={self._folder}"

    def _execute(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(
            f"user={USER} dbname=postgres host={self._folder}", autocommit=True
        ) as connection:
            connection.execute(sql)


def _remove_orphans() -> None:
    """Folders of test processes that were killed; their servers have ended with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}[0-9]*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def end_with_parent() -> None:
    """Have the process that this becomes interrupted when the thread that starts it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
