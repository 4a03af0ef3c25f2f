from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from gridloom.worker.supervision import processes

from tests.support.eventually import eventually_now
from tests.support.supervised import is_gone


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def run_python(script: str) -> str:
    """What a process of its own prints; for what changes the process itself."""
    prelude = "from gridloom.worker.supervision import processes\nimport os, time, signal\n"
    command = [sys.executable, "-c", prelude + script]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


def test_an_identity_is_of_one_process_and_no_other(sleeper):
    me = processes.identity(sleeper.pid)
    assert processes.is_alive(me)
    assert not processes.is_alive(me._replace(start_time=me.start_time + 1))
    assert not processes.is_alive(me._replace(boot_id="another"))
    sleeper.kill()
    eventually_now(lambda: is_gone(sleeper.pid))
    # It is a zombie, since nobody has waited for it.
    assert not processes.is_alive(me)
    assert processes.identity(sleeper.pid) is None


def test_nothing_is_known_of_a_process_that_is_not_there():
    gone = 2**22 + 1
    assert processes.start_time(gone) is None
    assert processes.session(gone) is None
    assert processes.group(gone) is None
    assert processes.children(gone) == []
    assert processes.read_proc(f"{gone}/environ") == b""
    assert processes.resident_bytes([gone]) == 0
    assert processes.proportional_bytes([gone]) == 0
    processes.send([gone], signal.SIGKILL)


def test_a_name_with_blanks_and_brackets_confuses_nobody():
    script = (
        "processes.name_process(') R 1 2 (x')\n"
        "print(processes.session(os.getpid()) == os.getsid(0), "
        "processes.group(os.getpid()) == os.getpgrp())"
    )
    assert run_python(script) == "True True\n"


def test_descendants_are_found_below_every_thread():
    script = (
        "import threading, subprocess\n"
        "made = []\n"
        "thread = threading.Thread(target=lambda: made.append(subprocess.Popen(['sleep', '9'])))\n"
        "thread.start(); thread.join()\n"
        "shell = subprocess.Popen(['sh', '-c', 'sleep 9 & wait'])\n"
        "while len(processes.descendants(os.getpid())) < 3: time.sleep(0.01)\n"
        "found = processes.descendants(os.getpid())\n"
        "print(made[0].pid in found, shell.pid in found, len(found))\n"
        "processes.send(found, signal.SIGKILL); made[0].wait(); shell.wait()"
    )
    assert run_python(script) == "True True 3\n"


def test_the_end_of_all_descendants_reaches_those_who_forked_away():
    script = (
        "import subprocess\n"
        "processes.become_subreaper()\n"
        "shell = subprocess.Popen(['sh', '-c', '(setsid sleep 1000 &); sleep 1000'])\n"
        "while len(processes.descendants(os.getpid())) < 3: time.sleep(0.01)\n"
        "codes, is_all = processes.end_descendants()\n"
        "shell.returncode = 0\n"
        # The shell in between may have ended by itself.
        "print(list(codes.values()).count(-9), is_all, processes.children(os.getpid()))"
    )
    assert run_python(script) in {"3 True []\n", "2 True []\n"}


def test_memory_is_counted_once_where_it_is_shared():
    script = (
        "x = bytearray(100 << 20)\n"
        "pids = [os.fork() for _ in range(1)]\n"
        "if 0 in pids: time.sleep(1000)\n"
        "both = [os.getpid(), *pids]\n"
        "mib = lambda size: size >> 20\n"
        "print(mib(processes.resident_bytes(both)) >= 200, "
        "mib(processes.proportional_bytes(both)) < 150)\n"
        "os.kill(pids[0], 9); os.waitpid(pids[0], 0)"
    )
    assert run_python(script) == "True True\n"


def test_a_hole_gives_its_blocks_back_and_keeps_the_size(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * (1 << 20))
    with path.open("r+b") as file:
        processes.punch_hole(file.fileno(), 4096, 1 << 19)
        status = os.fstat(file.fileno())
    assert status.st_size == 1 << 20
    assert status.st_blocks * 512 <= (1 << 19) + 8192
    assert path.read_bytes()[4096:8192] == bytes(4096)


def test_a_hole_in_what_is_no_file_is_an_error():
    reading, writing = os.pipe()
    with pytest.raises(OSError, match=r"."):
        processes.punch_hole(writing, 0, 4096)
    os.close(reading)
    os.close(writing)


def test_the_kernels_count_of_kills_is_a_number():
    assert processes.kernel_kills() >= 0
