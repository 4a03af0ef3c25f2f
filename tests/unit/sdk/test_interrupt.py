"""Ctrl-C in a wait, at a real terminal (a pseudo-terminal) and without one."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading

import pytest
from gridloom.interrupt import as_interrupt

PROGRAM = """
import time
from gridloom.interrupt import leaving_it_running

try:
    with leaving_it_running("job_1", 'client.get("job_1")', lambda: print("cancel!", flush=True)):
        print("waiting", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


class Terminal:
    """The program at a terminal of its own."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.text = ""

    def read_until(self, words: str) -> None:
        while words not in self.text:
            self.text += os.read(self._ours, 1000).decode()

    def interrupt(self) -> None:
        os.kill(self.process.pid, signal.SIGINT)

    def end(self) -> str:
        try:
            while data := os.read(self._ours, 1000):
                self.text += data.decode()
        except OSError:
            pass  # the other side is closed
        self.process.wait(10)
        os.close(self._ours)
        return self.text


def test_the_first_says_how_to_come_back_and_goes_up():
    terminal = Terminal()
    terminal.read_until("waiting")
    terminal.interrupt()
    text = terminal.end()
    assert 'job_1 goes on. Come back with: client.get("job_1")' in text
    assert "Press Ctrl-C again" in text
    assert "interrupted" in text
    assert "cancel!" not in text


def test_a_second_one_cancels():
    terminal = Terminal()
    terminal.read_until("waiting")
    terminal.interrupt()
    terminal.read_until("again")
    terminal.interrupt()
    text = terminal.end()
    assert "cancel!" in text
    assert "job_1 is cancelled" in text
    assert "interrupted" in text


class Lock:
    """A lock that is not held any more when it is to be let go of."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        threading.Lock().release()


def test_one_that_comes_amid_the_handling_of_a_lock_is_seen_as_itself():
    with pytest.raises(KeyboardInterrupt), as_interrupt(), Lock():
        raise KeyboardInterrupt
    with pytest.raises(RuntimeError), as_interrupt(), Lock():
        raise ValueError


def test_where_nobody_can_press_twice_it_goes_up_at_once():
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert out == "interrupted\n"
    assert "goes on" in err
    assert "again" not in err
