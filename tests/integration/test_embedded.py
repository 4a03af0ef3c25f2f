"""The embedded platform as a process: one a home, found by its record, ended when idle."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from gridloom.api.objects.v1 import objects_pb2 as pb
from gridloom.api.objects.v1 import objects_pb2_grpc
from gridloom.errors import UnavailableError
from gridloom.home import EmbeddedPlatform
from gridloom_services.common.lock import FolderLock
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.eventually import eventually_now
from tests.support.home import Home
from tests.support.service import EmbeddedProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

ABSENT = f"sha256:{'0' * 64}"


def stat_objects(platform: EmbeddedProcess) -> bool:
    """Any call of a user."""
    return has_objects(platform, platform.record()["address"])


def has_objects(platform: EmbeddedProcess, target: str) -> bool:
    """The same by any of the platform's doors."""
    with grpc.insecure_channel(target) as channel:
        stub = objects_pb2_grpc.ObjectsServiceStub(channel)
        request = pb.StatObjectsRequest(digests=[ABSENT])
        return stub.StatObjects(request, metadata=platform.metadata).objects[0].exists


def test_it_is_ready_when_its_record_is_there_and_the_sdk_finds_it(tmp_path):
    with EmbeddedProcess(tmp_path) as platform:
        found = EmbeddedPlatform(tmp_path).find(may_start=False)
        assert (found.address, found.token) == (platform.record()["address"], platform.token)
        with grpc.insecure_channel(found.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert stat_objects(platform) is False
        assert found.address.startswith("127.0.0.1:")


def test_its_secrets_are_its_owners_alone(tmp_path):
    with EmbeddedProcess(tmp_path / "home"):
        modes = {
            name: stat.S_IMODE((tmp_path / "home" / name).stat().st_mode)
            for name in ("", "token", "secret", "objects", "log")
        }
    assert modes == {"": 0o700, "token": 0o600, "secret": 0o600, "objects": 0o700, "log": 0o700}


def test_a_second_one_on_the_home_is_refused_by_the_pid_of_the_first(tmp_path):
    with EmbeddedProcess(tmp_path) as first:
        second = EmbeddedProcess(tmp_path)
        assert second.wait() == 1
        second.__exit__()
        assert f"pid {first.pid}) works in {tmp_path}" in second.lines[-1]
        assert stat_objects(first) is False


def test_a_service_alone_on_its_home_is_refused_too(tmp_path):
    (tmp_path / "objects").mkdir()
    with FolderLock(tmp_path / "objects"):
        platform = EmbeddedProcess(tmp_path)
        assert platform.wait() == 1
        platform.__exit__()
    assert f"works in {tmp_path / 'objects'}" in platform.lines[-1]


def test_a_stop_takes_the_record_away_and_the_next_start_has_the_same_port(tmp_path):
    with EmbeddedProcess(tmp_path) as platform:
        address = platform.record()["address"]
        platform.signal(signal.SIGTERM)
        assert platform.wait() == 0
    assert not (tmp_path / "platform.json").exists()
    assert list(tmp_path.glob("*.sock")) == []
    with EmbeddedProcess(tmp_path) as platform:
        assert platform.record()["address"] == address


def test_another_port_is_taken_when_the_last_one_is_not_free(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "port").write_text(str(port))
        with EmbeddedProcess(tmp_path) as platform:
            assert platform.record()["address"] != f"127.0.0.1:{port}"


def test_a_port_that_was_asked_for_is_the_one_or_none(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        platform = EmbeddedProcess(tmp_path, "--port", port)
        assert platform.wait() == 1
        platform.__exit__()
    assert f"port {port} of 127.0.0.1 cannot be used" in platform.lines[-1]
    assert not (tmp_path / "platform.json").exists()


def test_after_a_kill_it_starts_again_beside_the_stale_record(tmp_path):
    with EmbeddedProcess(tmp_path) as platform:
        dead = platform.pid
        platform.kill()
    assert json.loads((tmp_path / "platform.json").read_text())["pid"] == dead
    with EmbeddedProcess(tmp_path) as platform:
        eventually_now(lambda: platform.record()["pid"] == platform.pid)
        assert stat_objects(platform) is False
        # The socket of the dead one was in the way, too.
        assert has_objects(platform, f"unix:{platform.record()['socket']}") is False


def test_one_that_ends_by_an_error_is_started_again_by_whoever_only_looks_on(tmp_path):
    with EmbeddedProcess(tmp_path) as platform:
        platform.kill()
    (tmp_path / "port").unlink()
    (tmp_path / "port").mkdir()  # it cannot read what its last port was
    failing = EmbeddedProcess(tmp_path)
    assert failing.wait() == 1
    failing.__exit__()
    (tmp_path / "port").rmdir()
    try:
        EmbeddedPlatform(tmp_path).find(may_start=False)
    finally:
        Home(tmp_path).close()


def test_a_home_whose_name_is_too_long_for_a_socket_is_reached_by_its_port(tmp_path):
    home = tmp_path / ("h" * 100)
    with EmbeddedProcess(home) as platform:
        assert platform.record()["socket"] == ""
        found = EmbeddedPlatform(home).find(may_start=False)
        assert has_objects(platform, found.target) is False


def test_it_ends_itself_when_nobody_needs_it(tmp_path):
    with EmbeddedProcess(tmp_path, "--idle-timeout", "0.3") as platform:
        assert platform.wait() == 0
        assert platform.said("stopping")["reason"] == "idle for 0.3 s"


@pytest.mark.slow
def test_an_open_call_keeps_it_alive(tmp_path):
    may_end = threading.Event()

    def slow() -> Iterator[pb.PutObjectRequest]:
        ref = pb.ObjectRef(digest=ABSENT, size_bytes=5)
        yield pb.PutObjectRequest(header=pb.PutObjectRequest.Header(object=ref))
        may_end.wait()

    with EmbeddedProcess(tmp_path, "--idle-timeout", "2") as platform:
        with grpc.insecure_channel(platform.record()["address"]) as channel:
            stub = objects_pb2_grpc.ObjectsServiceStub(channel)
            put = stub.PutObject.future(slow(), metadata=platform.metadata)
            time.sleep(3)
            assert not platform.said("stopping")
            assert not put.done()
            may_end.set()
        assert platform.wait() == 0


def test_a_successor_waits_for_one_that_is_ending(tmp_path):
    with EmbeddedProcess(tmp_path) as platform:
        platform.signal(signal.SIGSTOP)
        (tmp_path / "platform.json").unlink()
        successor = EmbeddedProcess(tmp_path)
        platform.signal(signal.SIGKILL)
        with successor:
            assert successor.record()["pid"] == successor.pid


def test_a_word_of_the_command_line_wins_over_the_environment(tmp_path):
    settings = {"embedded_idle_timeout_s": 3600}
    with EmbeddedProcess(tmp_path, "--idle-timeout", "0.2", **settings) as platform:
        assert platform.wait() == 0


def test_a_home_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    platform = EmbeddedProcess(tmp_path / "file" / "home")
    assert platform.wait() == 1
    platform.__exit__()
    (line,) = platform.lines
    assert line.startswith("gridloom: ")
    assert str(tmp_path / "file") in line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embedded_idle_timeout": 5}, "did you mean GRIDLOOM_EMBEDDED_IDLE_TIMEOUT_S?"),
        ({"objects_retention": 5}, "did you mean GRIDLOOM_OBJECTS_RETENTION_S?"),
    ],
)
def test_a_wrong_setting_of_any_service_is_refused(tmp_path, settings, message):
    platform = EmbeddedProcess(tmp_path, **settings)
    assert platform.wait() == 2
    platform.__exit__()
    assert message in platform.lines[-1]


@pytest.fixture(scope="module")
def used_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with all stores, of a platform that has ended."""
    home = tmp_path_factory.mktemp("used") / "home"
    with EmbeddedProcess(home):
        pass
    return home


def copied(home: Path, folder: Path) -> Path:
    """Its files; sockets are made anew."""
    sockets = [path.name for path in home.rglob("*") if path.is_socket()]
    ignore = shutil.ignore_patterns(*sockets)
    return Path(shutil.copytree(home, folder / "home", ignore=ignore))


@pytest.mark.parametrize("service", ["objects", "scheduler", "functions"])
def test_a_newer_store_of_any_service_is_refused_and_left_as_it_is(used_home, tmp_path, service):
    home = copied(used_home, tmp_path)
    store = home / service / f"{service}.db"
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute(f"UPDATE gridloom_{service}_version SET version_num = '9999'")
    before = store.read_bytes()
    with pytest.raises(UnavailableError) as caught:
        EmbeddedPlatform(home).start()
    assert f"the {service} store {store} has revision 9999" in str(caught.value)
    assert "install the newer Gridloom that wrote it" in str(caught.value)
    assert store.read_bytes() == before


@pytest.mark.parametrize("service", ["objects", "scheduler", "functions"])
def test_a_damaged_store_of_any_service_is_refused_with_what_to_do(used_home, tmp_path, service):
    home = copied(used_home, tmp_path)
    store = home / service / f"{service}.db"
    store.write_bytes(b"\xa5" * store.stat().st_size)
    with pytest.raises(UnavailableError) as caught:
        EmbeddedPlatform(home).start()
    assert f"the store {store} is damaged" in str(caught.value)
    assert "put a backup in its place" in str(caught.value)
