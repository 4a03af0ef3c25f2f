"""The command line on the real embedded platform, in pipes and at a terminal."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from gridloom.cli import lifecycle

from tests.support.eventually import eventually_now
from tests.support.home import GRIDLOOM, Home, InProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOB_ID = re.compile(r"job_[0-9a-z]{26}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("cli") / "home")
    # More than there is, so that tests that hold CPUs do not wait for each other.
    assert home.gridloom("up", "--cpus", "16").code == 0
    yield home
    home.close()


@pytest.fixture
def gridloom(home: Home, capfd: pytest.CaptureFixture[str]) -> InProcess:
    return home.in_process(capfd)


class TestRun:
    @pytest.mark.parametrize(
        ("script", "code"),
        [
            ("exit 0", 0),
            ("exit 7", 7),
            ("exit 125", 125),
            ("kill -9 $$", 137),
            ("kill -15 $$", 143),
        ],
    )
    def test_the_exit_code_is_the_commands_own(self, gridloom: InProcess, script: str, code: int):
        assert gridloom("run", "--", "sh", "-c", script).code == code

    def test_the_streams_are_the_commands_own(self, gridloom: InProcess):
        ended = gridloom("run", "--", "sh", "-c", "echo out; echo err >&2; printf rest")
        assert (ended.code, ended.out, ended.err) == (0, "out\nrest", "err\n")

    def test_what_is_piped_in_is_what_the_command_reads(self, home: Home):
        ended = home.gridloom("run", "--", "cat", stdin="three\nshort\nlines\n")
        assert (ended.code, ended.out, ended.err) == (0, "three\nshort\nlines\n", "")
        assert home.gridloom("run", "--no-stdin", "--", "cat", stdin="words").out == ""

    def test_a_command_that_does_not_exist_is_127(self, gridloom: InProcess):
        ended = gridloom("run", "no-such-program")
        assert ended.code == 127
        assert "command not found: no-such-program" in ended.err

    def test_a_program_that_may_not_be_executed_is_126(self, home: Home, tmp_path: Path):
        (tmp_path / "solver").write_text("#!/bin/sh\n")
        ended = home.gridloom("run", "./solver", cwd=tmp_path)
        assert ended.code == 126
        assert "permission denied" in ended.err

    @pytest.mark.parametrize(
        "words",
        [
            ("--queue", "gpuu", "--", "true"),
            ("--cpus", "1000", "--", "true"),
            ("--cpus", "-1", "--", "true"),
            ("--memory", "much", "--", "true"),
            ("--file", "no-such-file", "--", "true"),
            ("--no-such-option", "--", "true"),
            ("--after", "job_00000000000000000000000000", "--", "true"),
        ],
    )
    def test_what_gridloom_cannot_do_is_125_and_one_sentence(
        self, gridloom: InProcess, words: tuple[str, ...]
    ):
        ended = gridloom("run", *words)
        assert (ended.code, ended.out) == (125, "")
        assert ended.err.strip().splitlines()[-1]
        assert "Traceback" not in ended.err

    def test_a_refusal_names_what_exists(self, gridloom: InProcess):
        assert "default" in gridloom("run", "--queue", "gpuu", "--", "true").err
        assert "16" in gridloom("run", "--cpus", "1000", "--", "true").err

    def test_the_program_its_files_and_its_outputs_travel(self, home: Home, tmp_path: Path):
        (tmp_path / "double.py").write_text(
            "import sys; n = int(open('in/number').read()); print(n)\n"
            "open('twice.txt', 'w').write(str(2 * n))\n"
        )
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "number").write_text("21")
        words = ("-f", "in", "-o", "*.txt", "--output-dir", "results", "--", "python3", "double.py")
        ended = home.gridloom("run", *words, cwd=tmp_path)
        assert (ended.code, ended.out) == (0, "21\n"), ended.err
        assert (tmp_path / "results" / "twice.txt").read_text() == "42"

    def test_an_array_says_whose_each_line_is_and_ends_as_its_first_bad_element(
        self, gridloom: InProcess
    ):
        script = "echo I am {index}; test $GRIDLOOM_ARRAY_INDEX != 2 || exit 5"
        ended = gridloom("run", "--array", "0-3%2", "--", "sh", "-c", script)
        assert ended.code == 5
        assert sorted(ended.out.splitlines()) == [f"[{n}] I am {n}" for n in range(4)]
        assert "1 of 4 elements (2); element 2: exit code 5" in ended.err

    def test_a_time_limit_ends_it(self, gridloom: InProcess):
        ended = gridloom("run", "-t", "1s", "--", "sleep", "60")
        assert ended.code > 128
        assert "over its time limit of 1s" in ended.err

    def test_output_comes_while_the_command_runs(self, home: Home, tmp_path: Path):
        gate = tmp_path / "gate"
        script = f"echo first; while ! test -e {gate}; do sleep 0.05; done; echo second"
        with home.terminal("run", "--", "sh", "-c", script) as terminal:
            assert "second" not in terminal.read_until("first")
            gate.touch()
            terminal.read_until("second")
            assert terminal.end() == 0

    def test_the_environment_and_the_name_are_what_was_said(self, gridloom: InProcess):
        ended = gridloom("run", "-e", "WORD=so", "--name", "say", "--", "sh", "-c", "echo $WORD")
        assert ended.out == "so\n"
        assert gridloom.documents("jobs", "list", "-n", "1")[0]["name"] == "say"


class TestCtrlC:
    def test_the_first_leaves_the_job_running_and_says_how_to_come_back(
        self, gridloom: InProcess, home: Home
    ):
        with home.terminal("run", "--", "sh", "-c", "echo on; sleep 300") as terminal:
            terminal.read_until("on\r\n")
            terminal.press_ctrl_c()
            assert terminal.end() == 130
            job = JOB_ID.findall(terminal.text)[-1]
            assert f"Come back with: gridloom jobs logs -f {job}" in terminal.text
        assert gridloom.state(job) == "RUNNING"
        assert gridloom("jobs", "cancel", job, "--grace", "1s").code == 0

    def test_a_second_one_cancels_it(self, gridloom: InProcess, home: Home):
        with home.terminal("run", "--", "sh", "-c", "echo on; sleep 300") as terminal:
            terminal.read_until("on\r\n")
            terminal.press_ctrl_c()
            terminal.read_until("Press Ctrl-C again")
            terminal.press_ctrl_c()
            assert terminal.end() == 130
            job = JOB_ID.findall(terminal.text)[-1]
        eventually_now(lambda: gridloom.state(job) == "CANCELLED")

    def test_a_script_that_is_interrupted_leaves_at_once(self, gridloom: InProcess, home: Home):
        command = [*GRIDLOOM, "run", "--", "sh", "-c", "echo on; sleep 300"]
        process = subprocess.Popen(
            command,
            env=home.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "again" not in said
        gridloom("jobs", "cancel", JOB_ID.findall(said)[0], "--grace", "1s")


class TestJobs:
    def test_a_job_is_found_shown_read_and_repeated(self, gridloom: InProcess):
        job = gridloom.detached(
            "-l", "study=a", "--name", "one", "--", "sh", "-c", "echo 1; exit 3"
        )
        gridloom("jobs", "watch", job)
        assert gridloom.state(job) == "FAILED"
        found = gridloom.documents("jobs", "list", "--labels", "study=a", "--state", "failed")
        assert [each["id"] for each in found] == [job]
        assert found[0]["exit_code"] == 3
        assert gridloom("jobs", "logs", job).out == "1\n"
        assert "exit code" in gridloom("jobs", "show", job).out
        history = [e["to_state"] for e in gridloom.documents("jobs", "show", job, "--events")]
        assert (history[0], history[-1]) == ("QUEUED", "FAILED")
        again = gridloom("jobs", "retry", job, "--quiet").out.strip()
        assert gridloom.documents("jobs", "show", again)["retry_of"] == job

    def test_a_held_job_waits_says_so_and_goes_on(self, gridloom: InProcess):
        job = gridloom.detached("--hold", "--", "true")
        assert gridloom.documents("jobs", "show", job, "--explain")["reason"] == "HELD"
        assert gridloom("jobs", "release", job).out == f"{job} released\n"
        assert gridloom("jobs", "watch", job).code == 0
        assert gridloom.state(job) == "SUCCEEDED"

    def test_dependencies_hold(self, gridloom: InProcess):
        first = gridloom.detached("--hold", "--", "false")
        good = gridloom.detached("--after", first, "--", "true")
        bad = gridloom.detached("--after-failure", first, "--", "true")
        explained = gridloom.documents("jobs", "show", good, "--explain")
        assert explained["reason"] == "DEPENDENCY"
        gridloom("jobs", "release", first)
        gridloom("jobs", "watch", first, good, bad)
        assert [gridloom.state(job) for job in (first, good, bad)] == [
            "FAILED",
            "CANCELLED",
            "SUCCEEDED",
        ]

    def test_a_running_job_is_followed_joined_and_cancelled(self, gridloom: InProcess, home: Home):
        script = "echo begin > begun; echo started; sleep 300"
        job = gridloom.detached("--", "sh", "-c", script)
        with home.terminal("jobs", "logs", "-f", job) as terminal:
            terminal.read_until("started")
            ended = home.gridloom(
                "jobs", "exec", job, "--", "sh", "-c", "cat begun -; exit 4", stdin="in"
            )
            assert (ended.code, ended.out) == (4, "begin\nin"), ended.err
            with home.terminal("jobs", "exec", job, "--", "echo", "beside") as joined:
                # Nothing is typed: the command's end is the end.
                joined.read_until("beside")
                assert joined.end() == 0
            assert gridloom("jobs", "cancel", job, "--grace", "1s").code == 0
            assert terminal.end() == 0
        assert gridloom.state(job) == "CANCELLED"

    def test_watch_tells_changes_one_a_line(self, gridloom: InProcess):
        job = gridloom.detached("--", "true")
        lines = gridloom("jobs", "watch", job, "--json").out.splitlines()
        states = [json.loads(line)["job"]["state"] for line in lines]
        assert states[-1] == "SUCCEEDED"


class TestOverview:
    def test_queues_are_made_used_and_removed(self, gridloom: InProcess):
        made = gridloom.documents(
            "queues", "create", "narrow", "--quota", "cpus=1", "--priority", "5"
        )
        assert (made[0]["quota"], made[0]["priority"]) == ({"cpu": 1000}, 5)
        first = gridloom.detached("--queue", "narrow", "--", "sleep", "300")
        second = gridloom.detached("--queue", "narrow", "--", "true")
        reason = lambda: gridloom.documents("jobs", "show", second, "--explain")["reason"]  # noqa: E731
        eventually_now(lambda: reason() == "QUEUE_QUOTA")
        gridloom("jobs", "cancel", first, "--grace", "0s")
        gridloom("jobs", "watch", first, second)
        assert gridloom("queues", "set", "narrow", "--closed").code == 0
        assert "closed" in gridloom("run", "--queue", "narrow", "--", "true").err
        assert gridloom("queues", "delete", "narrow").code == 0
        assert "narrow" not in gridloom("queues", "list", "-q").out

    def test_status_top_and_doctor_say_what_is_there(self, gridloom: InProcess, home: Home):
        status = gridloom.documents("status")
        assert status["platform"]["home"] == str(home.path)
        assert status["nodes"][0]["capacity"]["cpu"] == 16_000
        assert "oversubscribed" in gridloom("status").out
        assert "cpu" in gridloom("top").out
        assert {each["verdict"] for each in gridloom.documents("doctor")} <= {"ok", "remark"}
        with home.terminal("top") as terminal:
            terminal.read_until("gridloom top")
            terminal.press_ctrl_c()
            assert terminal.end() == 130

    def test_a_terminal_sees_colours_unless_it_says_no(self, gridloom: InProcess, home: Home):
        gridloom("run", "--", "true")
        with home.terminal("jobs", "list", "-n", "1") as terminal:
            terminal.end()
            assert "\x1b[32mSUCCEEDED" in terminal.text
        home.environment["NO_COLOR"] = "1"
        with home.terminal("jobs", "list", "-n", "1") as terminal:
            terminal.end()
        del home.environment["NO_COLOR"]
        assert "\x1b[32m" not in terminal.text


class TestShell:
    def test_it_offers_verbs_and_jobs(self, gridloom: InProcess, home: Home):
        job = gridloom.detached("--name", "offered", "--", "true")

        def offered(*words: str) -> list[str]:
            asked = {
                "_GRIDLOOM_COMPLETE": "complete_bash",
                "COMP_WORDS": " ".join(("gridloom", *words)),
                "COMP_CWORD": str(len(words)),
            }
            done = subprocess.run(
                GRIDLOOM,
                env={**home.environment, **asked},
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            return done.stdout.split()

        assert offered("qu") == ["queues"]
        assert job in offered("jobs", "show", job[:10])

    def test_a_reader_that_leaves_early_is_no_error(self, gridloom: InProcess, home: Home):
        job = gridloom.detached("--", "seq", "1", "200000")
        gridloom("jobs", "watch", job)
        command = [*GRIDLOOM, "jobs", "logs", job]
        with subprocess.Popen(
            command, env=home.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"1\n"
            process.stdout.close()
            assert process.stderr is not None
            assert process.stderr.read() == b""
        assert process.returncode == 0


class TestLifecycle:
    @pytest.fixture
    def home(self, tmp_path: Path) -> Iterator[Home]:
        home = Home(tmp_path / "home")
        yield home
        home.close()

    def test_any_verb_starts_the_platform_and_down_ends_it(self, gridloom: InProcess, home: Home):
        assert gridloom("status").code == 4
        assert gridloom("jobs", "list").code == 0
        assert home.platform.running() is not None
        assert gridloom("down").code == 0
        assert home.platform.running() is None
        assert gridloom("down").code == 0

    def test_down_asks_a_script_what_becomes_of_unfinished_jobs(self, gridloom: InProcess):
        job = gridloom.detached("--", "sleep", "300")
        refused = gridloom("down")
        assert refused.code == 1
        assert "unfinished work (1 job): --cancel cancels it, --keep leaves it" in refused.err
        assert gridloom("down", "--keep").code == 0
        assert gridloom("up").code == 0
        assert gridloom.state(job) in {"STARTING", "RUNNING"}
        assert gridloom("down", "--cancel").code == 0
        assert gridloom("up").code == 0
        assert gridloom.state(job) == "CANCELLED"

    @pytest.mark.slow
    def test_down_says_which_job_does_not_want_to_end(
        self, gridloom: InProcess, monkeypatch: pytest.MonkeyPatch
    ):
        job = gridloom.detached("--shell", "trap '' TERM; echo deaf; sleep 300")
        with gridloom.home.terminal("jobs", "logs", "-f", job) as terminal:
            terminal.read_until("deaf")
        monkeypatch.setattr(lifecycle, "STOP_PATIENCE_S", 0.05)
        ended = gridloom("down", "--cancel")
        assert ended.code == 1
        assert f"{job} did not end within" in ended.err
        monkeypatch.undo()
        assert gridloom("jobs", "cancel", "--grace", "0", job).code == 0

    @pytest.mark.slow
    def test_who_looks_on_waits_for_the_next_platform_and_starts_none(
        self, gridloom: InProcess, home: Home
    ):
        job = gridloom.detached("--hold", "--", "true")
        with home.terminal("jobs", "watch", job) as terminal:
            terminal.read_until("HELD")
            assert gridloom("down", "--keep").code == 0
            time.sleep(1)
            assert home.platform.running() is None
            assert gridloom("up").code == 0
            assert gridloom("jobs", "release", job).code == 0
            terminal.read_until("SUCCEEDED")
            assert terminal.end() == 0

    def test_a_port_that_is_taken_is_said(self, gridloom: InProcess):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            ended = gridloom("up", "--port", port)
        assert ended.code == 4
        assert port in ended.err
