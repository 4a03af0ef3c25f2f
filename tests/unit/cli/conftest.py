from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from gridloom.cli.__main__ import run

from tests.support.scripted import ScriptedPlatform

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass
class CommandLine:
    """`gridloom` in this process, on the scripted platform. In a pipe, as a script has it."""

    platform: ScriptedPlatform
    captured: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Ended:
        code = run(["--address", self.platform.address, *words])
        captured = self.captured.readouterr()
        return Ended(code, captured.out, captured.err)

    def as_process(self, *words: str, stdin: bytes = b"", **more: Any) -> Ended:
        """The same in a process of its own, with something on its standard input."""
        command = [sys.executable, "-m", "gridloom.cli", "--address", self.platform.address, *words]
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=60, check=False, **more
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def platform() -> Iterator[ScriptedPlatform]:
    platform = ScriptedPlatform()
    yield platform
    platform.close()


@pytest.fixture
def gridloom(platform: ScriptedPlatform, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(platform, capfd)
