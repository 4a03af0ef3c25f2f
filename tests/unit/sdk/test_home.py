"""The embedded platform as its clients see it; a small program of the tests' own plays its part."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom.errors import (
    InvalidRequestError,
    NotInstalledError,
    UnavailableError,
    VersionMismatchError,
)
from gridloom.home import EmbeddedPlatform, PlatformRecord, StartOptions, default_home
from gridloom.version import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Iterator

PLATFORM = """
import json, os, pathlib, socket, sys, time
home = pathlib.Path(sys.argv[sys.argv.index("--home") + 1])
print("starting with", sys.argv[1:], flush=True)
with (home / "starts").open("a") as starts:
    starts.write("x")
if (home / "broken").exists():
    sys.exit((home / "broken").read_text())
server = socket.create_server(("127.0.0.1", 0))
(home / "token").write_text("t0ken\\n")
address = "127.0.0.1:%d" % server.getsockname()[1]
record = {"address": address, "pid": os.getpid(), "started": time.time(), "version": "0",
          "token_file": str(home / "token"), "protocol": int(os.environ["PLAYED"])}
(home / "draft").write_text(json.dumps(record))
(home / "draft").rename(home / "platform.json")
time.sleep(60)
"""


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedPlatform]:
    """A home whose platform is the program above; it finds it as any user's Python would."""
    package = tmp_path / "packages" / "gridloom_services" / "embedded"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "__main__.py").write_text(PLATFORM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    monkeypatch.setenv("PLAYED", str(PROTOCOL))
    platform = EmbeddedPlatform(tmp_path / "home")
    yield platform
    record = platform.record()
    if record is not None:
        os.kill(record.pid, 15)


def starts(platform: EmbeddedPlatform) -> int:
    return len((platform.home / "starts").read_text())


def test_a_platform_that_is_not_there_is_started(played: EmbeddedPlatform):
    endpoint = played.find(may_start=True)
    record = played.running()
    assert record is not None
    assert endpoint.address == record.address
    assert endpoint.token == "t0ken"
    assert os.getpgid(record.pid) == record.pid
    assert [stat.S_IMODE(p.stat().st_mode) for p in (played.home, played.home / "log")] == [
        0o700
    ] * 2
    assert played.find(may_start=True) == endpoint
    assert starts(played) == 1


def test_of_many_clients_at_once_one_starts_it(played: EmbeddedPlatform):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: played.find(may_start=True), range(8)))
    assert len(set(found)) == 1
    assert starts(played) == 1


def test_where_none_may_be_started_the_message_says_how_to(tmp_path: Path):
    with pytest.raises(UnavailableError, match="start it with `gridloom up`"):
        EmbeddedPlatform(tmp_path).find(may_start=False)


def test_a_platform_that_was_killed_is_started_again(played: EmbeddedPlatform):
    first = played.find(may_start=True)
    record = played.record()
    assert record is not None
    os.kill(record.pid, 9)
    while played.running():
        time.sleep(0.01)
    assert played.find(may_start=False) != first
    assert starts(played) == 2


def test_a_start_that_fails_shows_the_end_of_the_log(played: EmbeddedPlatform):
    (played.home / "log").mkdir(parents=True)
    played.log_file.write_text("of another day\n")
    (played.home / "broken").write_text("Traceback: a defect")
    with pytest.raises(UnavailableError) as failure:
        played.find(may_start=True)
    assert "did not start (exit code 1)" in str(failure.value)
    assert str(played.log_file) in str(failure.value)
    assert "Traceback: a defect" in str(failure.value)
    assert "another day" not in str(failure.value)


def test_a_platform_that_says_why_it_cannot_start_is_quoted(played: EmbeddedPlatform):
    played.home.mkdir()
    (played.home / "broken").write_text("gridloom: port 80 cannot be used\nchoose another")
    with pytest.raises(UnavailableError) as failure:
        played.find(may_start=True)
    assert str(failure.value).endswith("(exit code 1): port 80 cannot be used\nchoose another")


def test_another_protocol_is_refused(played: EmbeddedPlatform, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PLAYED", str(PROTOCOL + 1))
    with pytest.raises(VersionMismatchError, match=f"this client speaks protocol {PROTOCOL}"):
        played.find(may_start=True)


def test_a_record_that_is_broken_or_of_a_dead_process_is_nothing(tmp_path: Path):
    platform = EmbeddedPlatform(tmp_path)
    (tmp_path / "platform.json").write_text('{"address": "127.0')
    assert platform.record() is None
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    said = {"address": "127.0.0.1:1", "pid": dead.pid, "started": 0, "token_file": "x"}
    (tmp_path / "platform.json").write_text(json.dumps({**said, "version": "0", "protocol": 1}))
    assert platform.record() is not None
    assert platform.running() is None


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_home_that_cannot_be_is_refused_by_name(tmp_path: Path, place: str):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRequestError, match="cannot be the platform's home") as refused:
        EmbeddedPlatform(tmp_path / place).find(may_start=True)
    assert refused.value.given == str(tmp_path / place)


def test_options_become_words_of_the_command_line():
    options = StartOptions(port=0, cpus=64.0, memory_bytes=1024, idle_timeout_s=2.5, workers=4)
    assert options.arguments() == [
        *("--port", "0"),
        *("--cpus", "64"),
        *("--memory", "1024"),
        *("--idle-timeout", "2.5"),
        *("--workers", "4"),
    ]
    assert StartOptions().arguments() == []


def test_without_the_platform_distribution_the_message_says_what_to_install(tmp_path: Path):
    program = (
        "import pathlib, sys\n"
        "from gridloom.errors import NotInstalledError\n"
        "from gridloom.home import EmbeddedPlatform\n"
        "try: EmbeddedPlatform(pathlib.Path(sys.argv[1])).find(may_start=True)\n"
        "except NotInstalledError as error: print(error)\n"
    )
    # Without site-packages there is the SDK and nothing else.
    run = [sys.executable, "-S", "-c", program, str(tmp_path / "home")]
    only_the_sdk = {**os.environ, "PYTHONPATH": str(Path(gridloom.__file__).parents[1])}
    done = subprocess.run(
        run, capture_output=True, text=True, check=True, timeout=60, env=only_the_sdk
    )
    said = done.stdout
    assert "pip install gridloom-platform" in said
    assert issubclass(NotInstalledError, UnavailableError)
    assert not (tmp_path / "home").exists()


def test_the_home_is_where_the_environment_says(tmp_path: Path):
    assert default_home({"GRIDLOOM_HOME": str(tmp_path)}) == tmp_path
    assert default_home({}).name == ".gridloom"


def test_one_that_was_killed_does_not_run_though_its_port_is_another_s_by_now(tmp_path: Path):
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process,
    ):
        port = other.getsockname()[1]
        token = str(tmp_path / "token")
        record = PlatformRecord(f"127.0.0.1:{port}", process.pid, 0.0, token, "0", PROTOCOL)
        assert record.is_answering
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not record.is_answering
