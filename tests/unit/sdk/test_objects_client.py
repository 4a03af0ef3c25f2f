"""The client of `objects`, against a small service of that kind."""

from __future__ import annotations

import pytest
from gridloom.channel import Connection
from gridloom.endpoint import Endpoint
from gridloom.errors import NotFoundError
from gridloom.locate import FixedAddress
from gridloom.objects import CHUNK_BYTES, ObjectsClient, digest_of

from tests.support.objects_service import DictionaryObjects, served


@pytest.fixture
def service():
    return DictionaryObjects()


@pytest.fixture
def connection(service):
    with served(service) as address:
        connection = Connection(FixedAddress(Endpoint(address, "token")))
        yield connection
        connection.close()


@pytest.fixture
def client(connection):
    return ObjectsClient(connection)


LARGE = bytes(range(256)) * 10_000


@pytest.mark.parametrize("data", [b"", b"x", LARGE, bytes(CHUNK_BYTES)])
def test_bytes_come_back_as_they_went(client, service, data):
    digest = client.put_bytes(data)
    assert digest == digest_of(data)
    assert service.stored[digest] == data
    back = client.get_bytes(digest)
    assert back == data
    assert isinstance(back, bytearray)


def test_any_buffer_is_taken(client, service):
    view = memoryview(bytearray(LARGE)).cast("B", (100, 25600))
    assert service.stored[client.put_bytes(view)] == LARGE


def test_what_is_there_is_not_sent_again(client, service):
    service.stored[digest_of(LARGE)] = LARGE
    client.put_bytes(LARGE)
    assert (service.stats, service.puts) == (1, 0)
    client.put_bytes(LARGE)
    assert (service.stats, service.puts) == (1, 0)


def test_a_large_content_goes_while_its_digest_is_found(client, service):
    client.missing(["sha256:unknown"])  # where the service is, is known from then on
    service.break_after = 1
    assert client.put_bytes(LARGE) == digest_of(LARGE)
    assert (service.stored, service.named_last) == ({digest_of(LARGE): LARGE}, 2)
    assert client.put_bytes(b"small") in service.stored
    assert service.named_last == 2


def test_a_service_that_wants_the_digest_first_gets_it_first(client, service):
    service.takes_named_last = False
    client.missing(["sha256:unknown"])
    for content in (LARGE, LARGE[::-1]):
        assert service.stored[client.put_bytes(content)] == content
    assert service.puts == 3


def test_what_was_seen_long_ago_is_asked_for_again(connection, service):
    now = [0.0]
    client = ObjectsClient(connection, clock=lambda: now[0])
    client.put_bytes(LARGE)
    now[0] = 3600.0
    service.stored.clear()
    client.put_bytes(LARGE)
    assert service.puts == 2


def test_a_holder_is_told_with_each_object(connection, service):
    client = ObjectsClient(connection, holder="job_x")
    digest = client.put_bytes(b"data")
    assert service.holders[digest] == "job_x"


def test_missing_objects_are_named_in_their_order(client, service):
    service.stored["sha256:b"] = b""
    assert client.missing(["sha256:c", "sha256:b", "sha256:a"]) == ["sha256:c", "sha256:a"]


def test_an_object_that_does_not_exist_is_not_found(client):
    with pytest.raises(NotFoundError, match="sha256:none"):
        client.get_bytes("sha256:none")


def test_a_file_comes_back_as_it_went(client, tmp_path):
    (tmp_path / "in").write_bytes(LARGE)
    ref = client.put_file(tmp_path / "in")
    assert (ref.digest, ref.size_bytes) == (digest_of(LARGE), len(LARGE))
    client.get_file(ref.digest, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == LARGE


def test_a_file_that_cannot_be_fetched_is_not_there_at_all(client, tmp_path):
    with pytest.raises(NotFoundError):
        client.get_file("sha256:none", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_get_that_breaks_off_goes_on_where_it_was(client, service):
    digest = client.put_bytes(LARGE)
    service.break_after = 1
    assert client.get_bytes(digest) == LARGE
    assert service.gets == 2


def test_a_put_that_breaks_off_is_made_again(client, service):
    service.break_after = 1
    assert service.stored[client.put_bytes(LARGE)] == LARGE
    assert service.puts == 2
