"""Objects by files, beside the service that takes them over: a real one, in this process."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from gridloom.api.objects.v1 import objects_pb2
from gridloom.channel import Connection
from gridloom.endpoint import Endpoint
from gridloom.local_objects import LEAST_BYTES, LocalFolder
from gridloom.locate import FixedAddress
from gridloom.objects import ObjectsClient, digest_of

from tests.support.objects_service import DictionaryObjects, served

LARGE = bytes(range(256)) * (LEAST_BYTES // 128)
DIGEST = digest_of(LARGE)
MARK = b"m" * 32


class FolderObjects(DictionaryObjects):
    """The service's twin with a folder: it takes drafts over."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder
        self.mark = MARK
        self.reserve_bytes = 0
        self.taken = []
        for name in ("content", "drafts"):
            (folder / name).mkdir()
        (folder / "mark").write_bytes(MARK)

    def PutObject(self, request_iterator, context):  # noqa: N802
        header = next(request_iterator).header
        if not header.draft:
            return super().PutObject(iter([_again(header), *request_iterator]), context)
        self.taken.append(header.draft)
        draft = self.folder / "drafts" / header.draft
        digest = header.object.digest
        name = digest.removeprefix("sha256:")
        (self.folder / "content" / name[:2]).mkdir(exist_ok=True)
        assert digest_of(draft.read_bytes()) == digest
        draft.rename(self.folder / "content" / name[:2] / name)
        self.stored[digest] = None
        return objects_pb2.PutObjectResponse(object=header.object)

    def StatObjects(self, request, context):  # noqa: N802
        answer = super().StatObjects(request, context)
        answer.local.folder, answer.local.mark = str(self.folder), self.mark
        answer.local.reserve_bytes = self.reserve_bytes
        return answer


def _again(header):
    return objects_pb2.PutObjectRequest(header=header)


@pytest.fixture
def service(tmp_path):
    return FolderObjects(tmp_path)


@pytest.fixture
def connection(service):
    with served(service) as address:
        connection = Connection(FixedAddress(Endpoint(address, "token")))
        yield connection
        connection.close()


@pytest.fixture
def client(connection):
    client = ObjectsClient(connection)
    client.missing(["sha256:unknown"])
    return client


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def drafts(service):
    return list((service.folder / "drafts").iterdir())


def test_a_large_content_goes_and_comes_as_a_file(client, service):
    assert client.put_bytes(LARGE) == DIGEST
    assert len(service.taken) == 1
    assert client.get_bytes(DIGEST) == LARGE
    assert (service.puts, service.gets, drafts(service)) == (0, 0, [])


def test_the_first_content_is_a_file_already(connection, service):
    ObjectsClient(connection).put_bytes(LARGE)
    assert (len(service.taken), service.puts) == (1, 0)


def test_a_small_content_goes_by_the_service(client, service):
    client.put_bytes(b"small")
    assert (service.taken, service.puts) == ([], 1)


def test_what_was_fetched_is_the_callers_to_change(client, service):
    client.put_bytes(LARGE)
    mine = client.get_bytes(DIGEST)
    mine[0] ^= 255
    assert mine != LARGE
    assert client.get_bytes(DIGEST) == LARGE


def test_what_was_fetched_stays_when_the_file_goes_and_holds_no_descriptor(client, service):
    client.put_bytes(LARGE)
    client.get_bytes(DIGEST)
    before = descriptors()
    mine = [client.get_bytes(DIGEST) for _ in range(5)]
    assert descriptors() == before
    for path in (service.folder / "content").rglob("*"):
        if path.is_file():
            path.unlink()
    assert all(each == LARGE for each in mine)
    name = DIGEST.removeprefix("sha256:")
    assert Path("/proc/self/maps").read_text().count(name) >= len(mine)
    del mine
    gc.collect()
    assert Path("/proc/self/maps").read_text().count(name) == 0


def test_the_digest_of_what_was_fetched_is_known_until_it_is_changed(client, service):
    client.put_bytes(LARGE)
    folder = LocalFolder(service.folder, 0)
    mine = folder.read(DIGEST)
    assert folder.digest_of(mine) == DIGEST
    assert (folder.digest_of(mine[4096:]), folder.digest_of(memoryview(LARGE))) == (None, None)
    mine[-1] ^= 255
    assert folder.digest_of(mine) is None


def test_what_was_fetched_and_changed_is_another_content(client, service):
    client.put_bytes(LARGE)
    mine = client.get_bytes(DIGEST)
    assert client.put_bytes(mine) == DIGEST
    mine[-1] ^= 255
    assert client.put_bytes(mine) == digest_of(mine)
    assert len(service.taken) == 2


def test_what_is_there_is_not_left_a_second_time(client, service):
    client.put_bytes(LARGE)
    other = bytearray(LARGE)
    client.put_bytes(other)
    assert (len(service.taken), drafts(service)) == (1, [])


def test_a_folder_without_the_mark_is_somebody_elses(connection, service):
    service.mark = b"another"
    ObjectsClient(connection).put_bytes(LARGE)
    assert (service.taken, service.puts) == ([], 1)


def test_a_disk_without_room_beside_the_reserve_is_left_to_the_service(connection, service):
    service.reserve_bytes = 1 << 60
    ObjectsClient(connection).put_bytes(LARGE)
    assert (service.taken, service.puts) == ([], 1)


def test_where_the_folder_is_gone_bytes_go_by_the_service(client, service, tmp_path):
    (tmp_path / "drafts").rmdir()
    client.put_bytes(LARGE)
    assert (service.taken, service.puts) == ([], 1)
    assert client.get_bytes(DIGEST) == LARGE
    assert service.gets == 1


def test_a_mark_that_is_not_said_is_none(tmp_path):
    (tmp_path / "mark").write_bytes(b"")
    assert LocalFolder.found(objects_pb2.LocalStore(folder=str(tmp_path))) is None
