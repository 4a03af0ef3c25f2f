from __future__ import annotations

import os
import pty
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gridloom.cli.stdin import kept_input
from gridloom.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pipe() -> Iterator[int]:
    """The reading end of a pipe with a few words in it."""
    reading, writing = os.pipe()
    os.write(writing, b"some words")
    os.close(writing)
    yield reading
    os.close(reading)


@pytest.fixture
def terminal() -> Iterator[int]:
    """A terminal at which somebody types a line and ends the input."""
    ours, theirs = pty.openpty()
    os.write(ours, b"typed\n\x04")
    yield theirs
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("wanted", [None, True])
def test_what_is_piped_in_is_kept_while_it_is_needed(pipe: int, wanted):
    with kept_input(pipe, wanted=wanted) as path:
        assert path is not None
        assert path.read_bytes() == b"some words"
    assert not path.exists()


def test_nobody_touches_the_input_that_is_not_wanted(pipe: int):
    with kept_input(pipe, wanted=False) as path:
        assert path is None
    assert os.read(pipe, 100) == b"some words"


def test_a_terminal_is_read_only_when_that_is_asked_for(terminal: int):
    with kept_input(terminal, wanted=None) as path:
        assert path is None
    with kept_input(terminal, wanted=True) as path:
        assert path is not None
        assert path.read_bytes() == b"typed\n"


def test_no_input_and_an_empty_one_are_nothing():
    with kept_input(None, wanted=True) as path:
        assert path is None
    with open(os.devnull, "rb") as nothing, kept_input(nothing.fileno(), wanted=None) as path:  # noqa: PTH123
        assert path is None


def drafts() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("gridloom-stdin-*"))


def test_too_much_is_refused_with_what_to_do_and_leaves_nothing(pipe: int):
    before = drafts()
    refusal = pytest.raises(InvalidRequestError, match="larger than 9 B: send a file with --file")
    with refusal as caught, kept_input(pipe, wanted=None, most_bytes=9):
        pass
    assert caught.value.field == "stdin"
    assert drafts() <= before


def test_whoever_waits_for_the_end_of_a_silent_pipe_is_told(capfd: pytest.CaptureFixture[str]):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        time.sleep(2.5)
        os._exit(0)
    os.close(writing)
    with kept_input(reading, wanted=None) as path:
        assert path is None
    os.wait()
    os.close(reading)
    assert "--no-stdin leaves it alone" in capfd.readouterr().err
