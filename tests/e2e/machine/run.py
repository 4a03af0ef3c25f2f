"""Running programs: quietly, with their words shown when they fail, and with the time it took."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    Command = Sequence[str | Path]


class StepError(Exception):
    """A program that was needed failed, or is not there; the message says what it said."""


def run(
    command: Command,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    text: str | None = None,
    timeout_s: float | None = None,
) -> str:
    """What the program wrote to stdout. StepError with the end of its words when it fails."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise StepError(f"{command[0]} is needed and not there: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise StepError(f"{_shown(command)} took longer than {timeout_s} s") from error
    if done.returncode != 0:
        raise StepError(f"{_shown(command)}: {(done.stderr or done.stdout).strip()[-4000:]}")
    return done.stdout


def succeeds(command: Command, environment: Mapping[str, str] | None = None) -> bool:
    """Whether the program is there, ends within a minute, and ends well."""
    try:
        run(command, environment=environment, timeout_s=60)
    except StepError:
        return False
    return True


def pipe(first: Command, second: Command, environment: Mapping[str, str] | None = None) -> str:
    """`first | second`; what `second` wrote. StepError when either fails."""
    environment = {**os.environ, **(environment or {})}
    left = subprocess.Popen([str(word) for word in first], stdout=subprocess.PIPE, env=environment)
    right = subprocess.run(
        [str(word) for word in second],
        stdin=left.stdout,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert left.stdout is not None
    left.stdout.close()
    if left.wait() != 0 or right.returncode != 0:
        raise StepError(f"{_shown(first)} | {_shown(second)}: {right.stderr.strip()[-4000:]}")
    return right.stdout


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    start = time.monotonic()
    say(f"{name} ...")
    yield
    say(f"{name}: {time.monotonic() - start:.1f} s")


def say(sentence: str) -> None:
    """One line for who waits."""
    sys.stderr.write(f"== {sentence}\n")
    sys.stderr.flush()


def _shown(command: Command) -> str:
    return " ".join(str(word) for word in command)[:200]
