from __future__ import annotations

import itertools
import os
import signal
import socket
import stat
import sys
import time
from typing import TYPE_CHECKING

import pytest
from gridloom.worker.supervision import handover, processes
from gridloom.worker.supervision.records import read_record
from gridloom.worker.supervisor import main

from tests.support.eventually import eventually_now
from tests.support.supervised import UNTIL_GO, Supervised, is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Iterator[Supervised]]:
    made: list[Supervised] = []

    def make() -> Iterator[Supervised]:
        for number in itertools.count():
            made.append(Supervised(tmp_path, number))
            yield made[-1]

    yield make()
    for each in made:
        each.close()


@pytest.fixture
def supervised(folders: Iterator[Supervised]) -> Supervised:
    return next(folders)


def shell(script: str) -> tuple[str, str, str]:
    return ("sh", "-c", script)


def python(script: str) -> tuple[str, str, str]:
    return (sys.executable, "-c", script)


def test_the_end_says_how_the_command_ended(supervised):
    before = time.time()
    end = supervised.run(*shell("exit 3"))
    assert (end.exit_code, end.signal, end.failure_class) == (3, 0, handover.APPLICATION_ERROR)
    assert end.reason == "exit code 3"
    assert before <= end.started_at <= end.ended_at <= time.time()


def test_success_has_no_failure_and_no_reason(supervised):
    end = supervised.run("true")
    assert (end.exit_code, end.failure_class, end.reason) == (0, handover.NO_FAILURE, "")


def test_a_signal_is_named_and_makes_the_exit_code_of_a_shell(supervised):
    end = supervised.run(*shell("kill -SEGV $$"))
    assert (end.exit_code, end.signal, end.reason) == (139, 11, "ended by SIGSEGV")


def test_processor_time_counts_the_whole_tree(supervised):
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    end = supervised.run(*shell(f"{sys.executable} -S -c '{burn}' & wait"))
    assert end.cpu_seconds >= 0.2


def test_peak_memory_is_that_of_the_command(supervised):
    end = supervised.run(*python(f"x = bytearray({64 * MIB})"))
    assert 64 * MIB < end.peak_memory_bytes < 128 * MIB


def test_both_streams_go_to_files_and_standard_input_is_empty(supervised):
    supervised.run(*shell("echo out; echo err >&2; cat"))
    assert supervised.stream() == "out\n"
    assert supervised.stream(handover.STDERR) == "err\n"


def test_the_command_has_its_folder_its_variables_and_none_of_the_platforms(
    supervised, monkeypatch
):
    monkeypatch.setenv("GRIDLOOM_HOME", "/secret")
    monkeypatch.setenv("INHERITED", "yes")
    supervised.run(*shell("pwd; echo $INHERITED $OWN [$GRIDLOOM_HOME]"), env={"OWN": "mine"})
    assert supervised.stream() == f"{supervised.work}\nyes mine []\n"


def test_a_broken_pipe_ends_a_command_as_it_does_in_a_shell(supervised):
    supervised.run(*shell("yes | head -1; exit 0"))
    assert supervised.stream(handover.STDERR) == ""


@pytest.mark.parametrize(
    ("command", "exit_code", "reason"),
    [
        ("no-such-thing", 127, "command not found: no-such-thing"),
        ("./no-such-thing", 127, "command not found: ./no-such-thing"),
        ("/etc/passwd", 126, "cannot execute /etc/passwd: permission denied"),
        ("/etc", 126, "cannot execute /etc: permission denied"),
        ("./no-interpreter", 127, "the interpreter that ./no-interpreter names is not here"),
        ("./no-program", 126, "cannot execute ./no-program: not a program"),
        ("a\0b", 126, "a NUL character in an argument or in the environment"),
    ],
)
def test_what_cannot_be_started_says_why(supervised, command, exit_code, reason):
    for name, content in (("no-interpreter", "#!/no/such/shell\n"), ("no-program", "hello\n")):
        path = supervised.work / name
        path.write_text(content)
        path.chmod(0o755)
    end = supervised.run(command)
    assert end.exit_code == exit_code
    assert reason in end.reason
    assert end.failure_class == handover.APPLICATION_ERROR
    assert end.started_at is None


def test_a_working_folder_that_is_not_there_is_named(supervised):
    end = supervised.run("true", workdir="/no/such/folder")
    assert end.exit_code == 125
    assert end.reason == "the working folder /no/such/folder: No such file or directory"


def test_a_second_supervisor_does_nothing_while_the_first_lives(supervised):
    supervised.tell(*shell(f"echo once; {UNTIL_GO}"))
    first = supervised.begin()
    supervised.running()
    assert supervised.begin().wait() == 0
    assert supervised.end() is None
    supervised.go()
    assert first.wait() == 0
    assert supervised.stream() == "once\n"


def test_a_second_supervisor_does_nothing_after_the_first(supervised):
    supervised.run(*shell("echo once"))
    supervised.begin().wait()
    assert supervised.stream() == "once\n"


def test_a_folder_that_somebody_began_and_left_is_not_begun_again(supervised):
    supervised.tell(*shell("echo again"))
    (supervised.path / handover.PID).write_text("{}")
    assert supervised.begin().wait() == 0
    assert supervised.end() is None
    assert not (supervised.path / handover.STDOUT).exists()


def test_records_are_for_their_owner_alone(supervised):
    supervised.run("true")
    for name in (handover.SPEC, handover.END, handover.STDOUT, handover.PID):
        assert stat.S_IMODE((supervised.path / name).stat().st_mode) == 0o600


def test_nobody_who_forked_away_outlives_the_command(supervised):
    script = "setsid sleep 1000 & (setsid sleep 1001 &); env -i setsid sleep 1002 &"
    supervised.tell(*shell(f"{script} {UNTIL_GO}"))
    supervised.begin()
    supervised.running()
    eventually_now(lambda: len(_sleeps(supervised)) == 3)
    pids = _sleeps(supervised)
    supervised.go()
    assert supervised.wait().exit_code == 0
    assert all(map(is_gone, pids))


def _sleeps(supervised: Supervised) -> set[int]:
    pids = processes.descendants(supervised.process.pid)
    return {
        pid for pid in pids if processes.read_proc(f"{pid}/cmdline").startswith(b"sleep\x00100")
    }


def test_a_fork_bomb_ends_with_its_command(supervised):
    bomb = "import os, time\nfor _ in range(6): os.fork()\ntime.sleep(1000)"
    supervised.tell(*python(bomb))
    supervised.begin()
    supervised.running()
    time.sleep(0.2)
    supervised.stop(0)
    end = supervised.wait()
    assert end.signal == signal.SIGKILL


def test_a_stop_before_the_start_means_that_nothing_starts(supervised):
    supervised.tell(*shell("echo started"))
    supervised.stop(10, "not wanted any more", gang=True)
    supervised.begin()
    end = supervised.wait()
    assert (end.failure_class, end.exit_code) == (handover.CANCELLED, None)
    assert end.reason == "not wanted any more"
    assert not (supervised.path / handover.STDOUT).exists()


@pytest.mark.parametrize("gang", [True, False])
def test_a_stop_for_the_unit_or_its_gang_ends_the_command(supervised, gang):
    supervised.tell("sleep", "1000")
    supervised.begin()
    supervised.running()
    supervised.stop(10, gang=gang)
    end = supervised.wait()
    assert (end.failure_class, end.signal) == (handover.CANCELLED, signal.SIGTERM)


def test_a_command_may_use_its_grace(supervised):
    script = "trap 'echo saved; exit 9' TERM; echo ready; while :; do sleep 0.01; done"
    supervised.tell(*shell(script))
    supervised.begin()
    eventually_now(lambda: (supervised.path / handover.STDOUT).exists() and supervised.stream())
    supervised.stop(10)
    end = supervised.wait()
    assert supervised.stream() == "ready\nsaved\n"
    assert (end.exit_code, end.signal, end.failure_class) == (9, 0, handover.CANCELLED)


def test_children_of_a_command_that_is_stopped_may_use_the_grace_too(supervised):
    child = "trap 'sleep 0.2; echo saved; exit' TERM; echo ready; while :; do sleep 0.01; done"
    supervised.tell(*shell(f'sh -c "{child}" & wait'))
    supervised.begin()
    eventually_now(lambda: (supervised.path / handover.STDOUT).exists() and supervised.stream())
    supervised.stop(10)
    supervised.wait()
    assert supervised.stream() == "ready\nsaved\n"


def test_who_left_the_group_is_told_to_stop_when_the_command_has_ended(supervised):
    supervised.tell(*shell("setsid sleep 1000 & sleep 1000"))
    supervised.begin()
    supervised.running()
    eventually_now(lambda: len(_sleeps(supervised)) == 2)
    before = time.monotonic()
    supervised.stop(15)
    supervised.wait()
    assert time.monotonic() - before < 15


def test_the_grace_ends_with_a_kill_of_everything(supervised):
    supervised.tell(*shell("trap '' TERM; echo ready; sleep 1000 & sleep 1000"))
    supervised.begin()
    eventually_now(lambda: supervised.running() and supervised.stream())
    supervised.stop(0.1)
    assert supervised.wait().signal == signal.SIGKILL


def test_the_time_limit_is_the_cause_whatever_the_command_makes_of_it(supervised):
    script = "trap 'exit 0' TERM; sleep 1000 & wait"
    end = supervised.run(*shell(script), time_limit_s=0.6)
    assert (end.exit_code, end.failure_class) == (0, handover.TIME_LIMIT)
    assert end.reason == "the time limit of 0.6 s"


def test_the_machine_going_down_is_no_fault_of_the_command(supervised):
    supervised.tell("sleep", "1000")
    supervised.begin()
    supervised.running()
    supervised.process.terminate()
    end = supervised.wait()
    assert (end.failure_class, end.reason) == (handover.NODE_LOST, "the machine is going down")


def test_too_much_memory_ends_the_whole_tree(supervised):
    eat = f"import time\nx = bytearray({80 * MIB})\ntime.sleep(1000)"
    script = f"{sys.executable} -S -c '{eat}' & {sys.executable} -S -c '{eat}' & wait"
    end = supervised.run("sh", "-c", script, memory_bytes=128 * MIB)
    assert end.failure_class == handover.OUT_OF_MEMORY
    assert end.peak_memory_bytes > 128 * MIB
    assert end.reason.endswith("the limit is 128 MiB")


def test_a_loop_that_allocates_gigabytes_is_caught_near_the_limit(supervised):
    end = supervised.run(
        *python("x = []\nwhile True: x.append(bytearray(1 << 30))"), memory_bytes=200 * MIB
    )
    assert end.failure_class == handover.OUT_OF_MEMORY
    assert end.peak_memory_bytes < 800 * MIB


def test_memory_that_processes_share_counts_once(supervised):
    script = f"import os, time\nx = bytearray({100 * MIB})\nos.fork()\nos.fork()\ntime.sleep(0.3)"
    end = supervised.run(*python(script), memory_bytes=200 * MIB)
    assert end.failure_class == handover.NO_FAILURE


def test_a_stream_that_is_too_large_loses_its_middle_only(supervised):
    script = "import sys\nfor i in range(40000): sys.stdout.write(f'{i:099d}\\n')"
    supervised.run(*python(script), log_limit_bytes=MIB)
    gap = read_record(supervised.path / "stdout.gap")
    with (supervised.path / handover.STDOUT).open("rb") as file:
        data = file.read()
        blocks = os.fstat(file.fileno()).st_blocks
    assert len(data) == 4_000_000
    assert blocks * 512 < 2 * MIB
    assert data[: gap["first"]] == b"".join(b"%099d\n" % i for i in range(6000))[: gap["first"]]
    assert data.endswith(b"%099d\n" % 39999)
    assert 0 < gap["first"] < gap["end"] < len(data)
    assert b"\0" not in data[gap["end"] :]


def test_outputs_are_gathered_once_everything_has_ended(supervised):
    script = "mkdir out; echo one > out/a; echo two > b.txt; ln -s /etc/passwd leak.txt; exit 2"
    end = supervised.run(*shell(script), outputs=["out", "*.txt", "../*", "/etc/hosts", "missing"])
    assert [(each.path, each.size_bytes) for each in end.outputs] == [("b.txt", 4), ("out/a", 4)]
    assert (supervised.path / handover.OUTPUTS / "out/a").read_text() == "one\n"
    assert end.exit_code == 2


def test_who_listens_is_rung_for_every_change(supervised):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        folder = os.open(supervised.root, os.O_PATH)
        door.bind(f"/proc/self/fd/{folder}/{handover.NOTIFY}")
        os.close(folder)
        door.settimeout(10)
        supervised.tell("true")
        supervised.begin()
        assert door.recv(100) == b"job_0-a1/main.0"
        assert (supervised.path / handover.STATE).exists()
        assert door.recv(100) == b"job_0-a1/main.0"
        assert supervised.end() is not None
        supervised.wait()


def test_the_program_says_how_it_is_used():
    assert main([]) == 2


# Replicas that share a process.


def test_a_shared_process_is_told_how_many_replicas_there_are(supervised):
    supervised.run(*shell("cat $GRIDLOOM_REPLICAS_FILE"), colocate=True, replicas=[0, 1, 2])
    assert supervised.stream() == "0 1 2\n"


def test_a_shared_process_reports_its_replicas_singly(supervised):
    script = 'echo "ended 1 0" > $GRIDLOOM_REPORT_FILE; echo "ended 2 -9" > $GRIDLOOM_REPORT_FILE'
    supervised.tell(*shell(f"{script}; sleep 1000"), colocate=True, replicas=[0, 1, 2])
    supervised.begin()
    eventually_now(lambda: len(supervised.running().ended) == 2)
    ended = supervised.running().ended
    assert ended["1"][:3] == (0, 0, handover.NO_FAILURE)
    assert ended["2"][:3] == (137, 9, handover.APPLICATION_ERROR)
    supervised.stop(0)
    assert set(supervised.wait().ended) == {"1", "2"}


def test_a_replica_that_is_not_wanted_any_more_ends_as_cancelled(supervised):
    script = f'{UNTIL_GO}; echo "ended 1 0" > $GRIDLOOM_REPORT_FILE'
    supervised.tell(*shell(script), colocate=True, replicas=[0, 1])
    supervised.begin()
    supervised.running()
    supervised.want(0)
    supervised.poke()
    supervised.go()
    assert supervised.wait().ended["1"].failure_class == handover.CANCELLED


def test_what_is_no_report_is_left_out(supervised):
    lines = 'printf "hello\\nended x 1\\nended 1\\nended 0 0 0\\n\\377\\nended 0 3\\nend"'
    script = f"{lines} > $GRIDLOOM_REPORT_FILE; sleep 0.1"
    end = supervised.run(*shell(script), colocate=True)
    assert {index: each.exit_code for index, each in end.ended.items()} == {"0": 3}


def test_only_a_process_that_asked_is_told_of_a_change_by_a_signal(folders):
    asks = 'echo notify > $GRIDLOOM_REPORT_FILE; trap "cat $GRIDLOOM_REPLICAS_FILE; exit" HUP'
    script = "echo ready; while :; do sleep 0.01; done"
    for prelude, expected in ((asks, "ready\n0 1 2\n"), (":", "ready\n")):
        supervised = next(folders)
        supervised.tell(*shell(f"{prelude}; {script}"), colocate=True)
        supervised.begin()
        eventually_now(lambda s=supervised: s.running() and s.stream())
        supervised.want(0, 1, 2)
        supervised.poke()
        if prelude == asks:
            assert supervised.wait().exit_code == 0
        time.sleep(0.1)
        assert supervised.stream() == expected


def test_memory_is_for_each_replica_that_is_there(supervised):
    script = f"{UNTIL_GO}; {sys.executable} -S -c 'x = bytearray({100 * MIB})'; sleep 0.2"
    supervised.tell(*shell(script), colocate=True, memory_bytes=64 * MIB)
    supervised.begin()
    supervised.running()
    supervised.want(0, 1)
    supervised.poke()
    supervised.go()
    assert supervised.wait().failure_class == handover.NO_FAILURE
