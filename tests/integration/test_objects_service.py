"""The objects service as a process of its own, over the network."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import socket
import threading
import time
import urllib.request
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from gridloom.api.objects.v1 import objects_pb2 as pb
from gridloom.api.objects.v1 import objects_pb2_grpc
from gridloom.channel import Connection
from gridloom.endpoint import Endpoint
from gridloom.locate import FixedAddress
from gridloom.objects import ObjectsClient
from gridloom_services.common.tokens import GangTokens
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.support.eventually import eventually_now
from tests.support.front import free_port
from tests.support.s3 import environment, s3_server
from tests.support.service import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Client:
    """What the tests ask of the service."""

    def __init__(self, service: ServiceProcess, token: str | None = None) -> None:
        self._channel = grpc.insecure_channel(service.address)
        self.stub = objects_pb2_grpc.ObjectsServiceStub(self._channel)
        self.metadata = (("authorization", f"Bearer {token or service.token}"),)

    def close(self) -> None:
        self._channel.close()

    def put(self, content: bytes, holder: str = "", digest: str = "") -> pb.PutObjectResponse:
        ref = pb.ObjectRef(digest=digest or digest_of(content), size_bytes=len(content))

        def requests() -> Iterator[pb.PutObjectRequest]:
            header = pb.PutObjectRequest.Header(object=ref, holder=holder)
            yield pb.PutObjectRequest(header=header)
            for start in range(0, len(content), MIB):
                yield pb.PutObjectRequest(chunk=content[start : start + MIB])

        return self.stub.PutObject(requests(), metadata=self.metadata)

    def put_named_last(self, content: bytes, digest: str) -> pb.PutObjectResponse:
        ref = pb.ObjectRef(size_bytes=len(content))
        header = pb.PutObjectRequest.Header(object=ref, holder="job_1")
        parts = [content[start : start + MIB] for start in range(0, len(content), MIB)]
        requests = [
            pb.PutObjectRequest(header=header),
            *(pb.PutObjectRequest(chunk=part) for part in parts),
            *([pb.PutObjectRequest(digest=digest)] if digest else []),
        ]
        return self.stub.PutObject(iter(requests), metadata=self.metadata)

    def messages(self, digest: str, offset: int = 0, length: int = 0) -> list[pb.GetObjectResponse]:
        request = pb.GetObjectRequest(digest=digest, offset=offset, length_bytes=length)
        return list(self.stub.GetObject(request, metadata=self.metadata))

    def get(self, digest: str, offset: int = 0, length: int = 0) -> bytes:
        return b"".join(message.chunk for message in self.messages(digest, offset, length))

    def exists(self, *contents: bytes) -> list[bool]:
        request = pb.StatObjectsRequest(digests=[digest_of(content) for content in contents])
        answer = self.stub.StatObjects(request, metadata=self.metadata)
        return [stat.exists for stat in answer.objects]


@contextlib.contextmanager
def serving(home, **settings) -> Iterator[tuple[ServiceProcess, Client]]:
    with ServiceProcess("objects", home, **settings) as service:
        client = Client(service)
        try:
            yield service, client
        finally:
            client.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[Client]:
    """Of a service that the tests share."""
    with serving(tmp_path_factory.mktemp("home")) as (_, client):
        yield client


def reason_of(error: grpc.RpcError) -> str:
    (data,) = [v for k, v in error.trailing_metadata() if k == "grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(data).details[0].Unpack(info)
    return str(info.reason)


@pytest.mark.parametrize("size", [0, 1, MIB, 5 * MIB + 17])
def test_an_object_goes_in_and_comes_out(client, size):
    content = os.urandom(size)
    answer = client.put(content)
    assert (answer.object.digest, answer.object.size_bytes) == (digest_of(content), size)
    messages = client.messages(answer.object.digest)
    assert messages[0].object == answer.object
    assert all(not message.HasField("object") for message in messages[1:])
    assert all(len(message.chunk) <= MIB for message in messages)
    assert b"".join(message.chunk for message in messages) == content


def test_the_digest_may_come_last(client):
    content = os.urandom(2 * MIB + 7)
    answer = client.put_named_last(content, digest_of(content))
    assert (answer.object.digest, answer.existed) == (digest_of(content), False)
    assert client.get(answer.object.digest) == content
    assert client.put_named_last(content, digest_of(content)).existed


@pytest.mark.parametrize("digest", ["", "md5:1", digest_of(b"other")])
def test_what_comes_last_has_to_be_its_digest(client, digest):
    content = os.urandom(1000)
    with pytest.raises(grpc.RpcError) as refused:
        client.put_named_last(content, digest)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert client.exists(content) == [False]


def test_a_get_can_be_resumed(client):
    content = os.urandom(3 * MIB)
    digest = client.put(content).object.digest
    assert client.get(digest, offset=2 * MIB + 5) == content[2 * MIB + 5 :]
    assert client.get(digest, offset=10, length=20) == content[10:30]


def test_on_the_same_machine_contents_are_left_and_read_as_files(tmp_path):
    content = os.urandom(5 * MIB)
    with serving(tmp_path) as (service, client):
        with contextlib.closing(
            Connection(FixedAddress(Endpoint(service.address, service.token)))
        ) as connection:
            digest = ObjectsClient(connection).put_bytes(content)
            mine = ObjectsClient(connection).get_bytes(digest)
        assert isinstance(mine, memoryview)  # the file itself
        assert mine == content
        assert client.exists(content) == [True]
        assert client.get(digest) == content
    (drafts,) = tmp_path.rglob("drafts")
    assert list(drafts.iterdir()) == []


def test_a_second_put_is_cheap(client):
    content = os.urandom(4 * MIB)
    assert not client.put(content).existed
    assert client.put(content).existed


@pytest.mark.parametrize(
    ("request_of", "code", "reason"),
    [
        (lambda c: c.put(b"a", digest=digest_of(b"b")), "INVALID_ARGUMENT", "INVALID_REQUEST"),
        (lambda c: c.put(b"a", digest="md5:1"), "INVALID_ARGUMENT", "INVALID_REQUEST"),
        (lambda c: c.put(b"a", holder="h" * 201), "INVALID_ARGUMENT", "INVALID_REQUEST"),
        (lambda c: c.get(digest_of(b"absent")), "NOT_FOUND", "NOT_FOUND"),
        (
            lambda c: c.stub.PutObject(
                iter([pb.PutObjectRequest(chunk=b"a")]), metadata=c.metadata
            ),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
        ),
        (
            lambda c: c.stub.HoldObjects(pb.HoldObjectsRequest(), metadata=c.metadata),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
        ),
        (
            lambda c: c.stub.StatObjects(
                pb.StatObjectsRequest(digests=[digest_of(b"a")] * 10_001), metadata=c.metadata
            ),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(client, request_of, code, reason):
    with pytest.raises(grpc.RpcError) as caught:
        request_of(client)
    assert (caught.value.code().name, reason_of(caught.value)) == (code, reason)


def test_holds_and_releases_are_answered(client):
    client.put(b"held")
    request = pb.HoldObjectsRequest(
        holder="job_1", digests=[digest_of(b"held"), digest_of(b"nowhere")]
    )
    answer = client.stub.HoldObjects(request, metadata=client.metadata)
    assert list(answer.missing) == [digest_of(b"nowhere")]
    release = pb.ReleaseObjectsRequest(holder="job_1")
    client.stub.ReleaseObjects(release, metadata=client.metadata)


def test_a_gang_may_put_and_get_but_not_release(tmp_path):
    with serving(tmp_path) as (service, _):
        secret = (tmp_path / "secret").read_bytes()
        gang = Client(service, GangTokens(secret).issue("job_1", 1, "default"))
        assert gang.get(gang.put(b"result").object.digest) == b"result"
        with pytest.raises(grpc.RpcError) as caught:
            gang.stub.ReleaseObjects(
                pb.ReleaseObjectsRequest(holder="job_2"), metadata=gang.metadata
            )
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        gang.close()


def test_what_nobody_holds_goes_in_time(tmp_path):
    settings = {"objects_retention_s": 0, "objects_sweep_every_s": 0.05}
    with serving(tmp_path, **settings) as (_, client):
        client.put(b"held", holder="job_1")
        client.put(b"left")
        # Whoever asks for an object is about to use it: it is asked for less often than swept.
        eventually_now(lambda: time.sleep(0.3) or client.exists(b"left") == [False])
        assert client.exists(b"held") == [True]


def test_an_object_that_would_fill_the_disk_is_refused(tmp_path):
    with serving(tmp_path, objects_reserve_bytes=1 << 60) as (_, client):
        with pytest.raises(grpc.RpcError) as caught:
            client.put(b"a")
        assert reason_of(caught.value) == "STORAGE_FULL"
        assert "kept for the platform itself" in caught.value.details()


@pytest.mark.parametrize("where", ["file", "s3"])
def test_it_runs_on_postgresql_with_contents_on_a_volume_or_in_s3(
    tmp_path, postgres_url, where, request
):
    if where == "s3":
        request.getfixturevalue("s3")
    url = {"file": f"file://{tmp_path / 'far'}", "s3": "s3://payloads/gridloom"}[where]
    settings = {"objects_database_url": postgres_url, "objects_store_url": url}
    content = os.urandom(2 * MIB)
    with serving(tmp_path / "first", **settings) as (_, client):
        client.put(content)
    # A home of its own, as another node has: nothing of the first is needed.
    with serving(tmp_path / "second", **settings) as (_, client):
        assert client.get(digest_of(content)) == content
        assert client.get(digest_of(content), MIB, 7) == content[MIB:][:7]


def test_a_store_that_is_away_is_unavailable_and_small_objects_go_on(tmp_path):
    content = os.urandom(MIB)
    port = free_port()
    with contextlib.ExitStack() as stack:
        with s3_server(port) as values, environment(values | {"AWS_MAX_ATTEMPTS": "1"}):
            url = "s3://payloads/gridloom"
            _, client = stack.enter_context(serving(tmp_path, objects_store_url=url))
            client.put(content)
        for act in (lambda: client.get(digest_of(content)), lambda: client.put(content[1:])):
            with pytest.raises(grpc.RpcError) as caught:
                act()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert f"the store of objects {url} cannot be used now" in caught.value.details()
        assert client.get(client.put(b"small").object.digest) == b"small"


def test_a_store_that_is_away_at_the_start_is_named(tmp_path):
    values = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "AWS_MAX_ATTEMPTS": "1"}
    with environment(values):
        service = ServiceProcess("objects", tmp_path, objects_store_url="s3://bucket/x")
        assert service.wait() == 1
    service.__exit__()
    assert "the store of objects s3://bucket/x cannot be used now" in service.lines[-1]


def test_its_metrics_are_on_a_port_of_their_own(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(tmp_path, metrics_port=port) as (_, client):
        client.get(client.put(b"counted").object.digest)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
    assert any(
        line.startswith("grpc_server_handled_total{") and "PutObject" in line for line in lines
    )
    assert "gridloom_objects_received_bytes_total 7.0" in lines
    assert "gridloom_objects_sent_bytes_total 7.0" in lines
    assert "gridloom_objects_removed_objects_total 0.0" in lines


# ---- starts and ends


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"objects_colour": "red"}, 2, "unknown setting GRIDLOOM_OBJECTS_COLOUR"),
        ({"objects_retention_s": "-1"}, 2, "GRIDLOOM_OBJECTS_RETENTION_S is -1.0; the least is 0"),
        ({"objects_store_url": "gopher://x"}, 1, "gopher"),
        ({"objects_database_url": "oracle://x"}, 1, "oracle is not a database for Gridloom"),
    ],
)
def test_a_wrong_setting_ends_it_with_one_line(tmp_path, settings, code, message):
    service = ServiceProcess("objects", tmp_path, **settings)
    assert service.wait() == code
    service.__exit__()
    assert service.lines[-1].startswith("gridloom: ")
    assert message in service.lines[-1]
    assert not any("Traceback" in line for line in service.lines)


def test_a_port_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = ServiceProcess("objects", tmp_path, port=port)
        assert service.wait() == 1
        service.__exit__()
    assert f"port {port} of 127.0.0.1 cannot be used" in service.lines[-1]


def test_a_second_one_on_the_same_folder_is_refused_by_the_pid_of_the_first(tmp_path):
    with serving(tmp_path) as (first, client):
        second = ServiceProcess("objects", tmp_path)
        assert second.wait() == 1
        second.__exit__()
        assert f"pid {first.pid}" in second.lines[-1]
        assert client.exists(b"x") == [False]


def test_a_damaged_store_is_refused_with_what_to_do(tmp_path):
    with serving(tmp_path) as (_, client):
        client.put(b"a")
    (tmp_path / "objects" / "objects.db").write_bytes(b"no database" * 500)
    service = ServiceProcess("objects", tmp_path)
    assert service.wait() == 1
    service.__exit__()
    assert "is damaged" in service.lines[-1]
    assert "put a backup in its place" in service.lines[-1]


def test_a_get_under_way_is_finished_when_the_service_is_asked_to_end(tmp_path):
    content = os.urandom(64 * MIB)
    with serving(tmp_path) as (service, client):
        digest = client.put(content).object.digest
        stream = client.stub.GetObject(pb.GetObjectRequest(digest=digest), metadata=client.metadata)
        received = [next(stream).chunk]
        service.signal(signal.SIGTERM)
        service.until("stopping")
        received += [message.chunk for message in stream]
        assert b"".join(received) == content
        assert service.wait() == 0


def test_a_second_signal_ends_it_at_once(tmp_path):
    with serving(tmp_path, grace_s=600) as (service, client):
        may_end = threading.Event()

        def slow() -> Iterator[pb.PutObjectRequest]:
            ref = pb.ObjectRef(digest=digest_of(b"never"), size_bytes=5 * MIB)
            yield pb.PutObjectRequest(header=pb.PutObjectRequest.Header(object=ref))
            may_end.wait()

        put = client.stub.PutObject.future(slow(), metadata=client.metadata)
        eventually_now(lambda: list((tmp_path / "objects" / "drafts").iterdir()))
        service.signal(signal.SIGTERM)
        service.until("stopping")
        assert not put.done()
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        may_end.set()
        with pytest.raises(grpc.RpcError):
            put.result()
    assert list((tmp_path / "objects" / "drafts").iterdir()) == []


# ---- crashes


def stored(home) -> set[str]:
    folder = home / "objects" / "content"
    return {f"sha256:{path.name}" for path in folder.glob("*/*")}


def rows(home) -> set[str]:
    engine = create_engine(f"sqlite:///{home / 'objects' / 'objects.db'}", poolclass=NullPool)
    with engine.connect() as connection:
        return set(
            connection.execute(text("SELECT digest FROM objects WHERE content IS NULL")).scalars()
        )


@pytest.mark.slow
def test_killed_at_any_moment_it_keeps_what_it_acknowledged_and_no_litter(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    acknowledged: dict[str, bytes] = {}
    for _ in range(5):
        with serving(tmp_path) as (service, client):
            # The time runs once it serves, however busy the machine is.
            acknowledged[client.put(service.address.encode()).object.digest] = (
                service.address.encode()
            )
            killer = threading.Timer(dice.uniform(0.05, 0.4), service.kill)
            killer.start()
            with contextlib.suppress(grpc.RpcError):
                while True:
                    content = dice.randbytes(dice.choice([10, 100_000, 3 * MIB]))
                    acknowledged[client.put(content).object.digest] = content
            killer.join()
    with serving(tmp_path) as (_, client):
        for digest, content in acknowledged.items():
            assert client.get(digest) == content, f"seed {seed}"
        eventually_now(lambda: stored(tmp_path) == rows(tmp_path))
        assert list((tmp_path / "objects" / "drafts").iterdir()) == []
    assert acknowledged
