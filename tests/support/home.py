"""A home with an embedded platform in it, as users have it: started by whoever needs it first."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from gridloom.cli.__main__ import run
from gridloom.home import EmbeddedPlatform

from tests.support.chaos import processes_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GRIDLOOM = (sys.executable, "-m", "gridloom.cli")
PATIENCE_S = 60.0


@dataclass
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str


@dataclass
class Home:
    """The home. What it starts it ends: `close` cancels jobs and stops the platform."""

    path: Path
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        others = {k: v for k, v in os.environ.items() if not k.startswith("GRIDLOOM_")}
        self.environment = {
            **others,
            "GRIDLOOM_HOME": str(self.path),
            "GRIDLOOM_CONFIG": str(self.path / "no-config"),
        }

    @property
    def platform(self) -> EmbeddedPlatform:
        return EmbeddedPlatform(self.path)

    def gridloom(self, *words: str, cwd: Path | None = None, stdin: str = "") -> Ended:
        """The command line, in a pipe."""
        done = subprocess.run(
            [*GRIDLOOM, *words],
            env=self.environment,
            cwd=cwd or self.path.parent,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def in_process(self, captured: pytest.CaptureFixture[str]) -> InProcess:
        """The command line in this process, which spares the start of an interpreter."""
        return InProcess(self, captured)

    def terminal(self, *words: str, cwd: Path | None = None) -> Terminal:
        """The command line at a terminal of its own."""
        return Terminal([*GRIDLOOM, *words], self.environment, cwd or self.path.parent)

    def close(self) -> None:
        record = self.platform.running()
        if record is None:
            if not processes_of(self.path):
                return
            # It was killed, and has left jobs behind: they are its own to end.
            record = self.platform.start()
        self.gridloom("down", "--cancel")
        with suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGKILL)


@dataclass
class InProcess:
    """`gridloom` as a function; what it writes is captured."""

    home: Home
    captured: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Ended:
        code = run(["--home", str(self.home.path), *words])
        out, err = self.captured.readouterr()
        return Ended(code, out, err)

    def documents(self, *words: str) -> Any:
        """What a verb says in JSON."""
        ended = self(*words, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    def detached(self, *words: str) -> str:
        """The id of a job that runs by itself."""
        ended = self("run", "--detach", *words)
        assert ended.code == 0, ended.err
        return ended.out.strip()

    def state(self, job: str) -> str:
        """The state of a job now."""
        return str(self.documents("jobs", "show", job)["state"])


class Terminal:
    """A process whose three streams are a terminal, and a person at it."""

    def __init__(self, command: list[str], environment: dict[str, str], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"},
            cwd=cwd,
            start_new_session=True,
            # Ctrl-C goes to the process whose terminal it is.
            preexec_fn=_make_terminal_ours,  # noqa: PLW1509  # tests start processes from one thread
        )
        os.close(theirs)
        self.text = ""

    def read_until(self, words: str) -> str:
        """What was shown so far, when these words are among it."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.text:
            assert time.monotonic() < deadline, f"{words!r} did not come:\n{self.text}"
            assert self._read(), f"it ended without {words!r}:\n{self.text}"
        return self.text

    def press_ctrl_c(self) -> None:
        os.write(self._ours, b"\x03")

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """The exit code, when it has ended by itself."""
        while self._read():
            pass
        return self.process.wait(PATIENCE_S)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], PATIENCE_S)
        if not ready:
            return False
        try:
            data = os.read(self._ours, 65_536)
        except OSError:
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


def _make_terminal_ours() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
