"""Workers with an `objects` service beside them: large values, and the user's own modules."""

from __future__ import annotations

import hashlib
import importlib
import sys

import numpy as np
import pytest
from gridloom.api.functions.v1 import pool_pb2, session_pb2, worker_pb2
from gridloom.api.objects.v1 import objects_pb2
from gridloom.channel import Connection
from gridloom.endpoint import Endpoint
from gridloom.errors import NotFoundError
from gridloom.locate import FixedAddress
from gridloom.objects import ObjectsClient
from gridloom.payload import PayloadCodec
from gridloom.worker.bundle import bundle_for

from tests.support.objects_service import DictionaryObjects, served
from tests.unit.worker.pool_service import TOKEN, HostProcess, running_service


@pytest.fixture
def objects():
    return DictionaryObjects()


@pytest.fixture
def address(objects):
    with served(objects) as address:
        yield address


@pytest.fixture
def service(tmp_path, address):
    """A pool's service whose values go through `objects` as a client's would."""
    connection = Connection(FixedAddress(Endpoint(address, TOKEN)))
    with running_service(tmp_path / "functions.sock") as service:
        service.codec = PayloadCodec(ObjectsClient(connection))
        yield service
    connection.close()


@pytest.fixture(params=[pool_pb2.CONCURRENCY_PROCESSES, pool_pb2.CONCURRENCY_THREADS])
def worker(request, tmp_path, service, address):
    folder = tmp_path / "host"
    folder.mkdir()
    spec = pool_pb2.PoolSpec(concurrency=request.param)
    host = HostProcess(folder, service, spec, GRIDLOOM_ADDRESS=address)
    yield service.worker()
    host.close()


def test_large_arguments_and_results_go_by_reference(service, worker, objects):
    array = np.arange(1_000_000, dtype=np.float64)
    batch = service.batch(service.calls(lambda a: a + 1, (array,)))
    worker.send(batch=batch)
    results = worker.take("results")
    (run,) = results.runs
    assert len(run.values[0]) < 1000
    assert list(run.objects[0].digests) == [d for d in objects.stored if d in str(run.objects)]
    back = service.outcome(run.statuses[0], run.values[0])
    assert np.array_equal(back, array + 1)


def test_a_large_argument_may_be_changed_by_the_call(service, worker):
    def change(array):
        array[0] = 7
        return float(array[0])

    assert service.call(worker, change, np.zeros(1_000_000)) == 7.0


def test_a_large_argument_that_is_gone_is_the_calls_error(service, worker, objects):
    run = service.calls(len, (bytes(3_000_000),))
    objects.stored.clear()
    found = service.outcomes(worker, service.batch(run))
    assert type(found[0, 0]) is NotFoundError


def test_large_items_of_a_chunk_go_by_reference(service, worker):
    batch = service.batch(service.chunk(lambda n: bytes([n]) * 2_000_000, range(3)))
    found = service.outcomes(worker, batch)
    assert [found[0, item] for item in range(3)] == [bytes([n]) * 2_000_000 for n in range(3)]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A module of the user's own that no worker can import."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(value):
        (folder / "gl_user_helper.py").write_text(f"value = {value}\n")
        (folder / "gl_user_code.py").write_text(
            "import gl_user_helper\ndef run(): return gl_user_helper.value\n"
        )
        for name in ("gl_user_helper", "gl_user_code"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("gl_user_code").run

    yield write
    for name in ("gl_user_helper", "gl_user_code"):
        sys.modules.pop(name, None)


def shipped(service, function):
    """A function with its modules, as a client sends it."""
    bundle = bundle_for(function)
    digest = service.codec._objects.put_bytes(bundle.data)
    code = service.codec.encode_function(function, digest).data
    definition = session_pb2.FunctionDefinition(
        digest=hashlib.sha256(code).digest(),
        name="run",
        code=code,
        bundle=objects_pb2.ObjectRef(digest=digest, size_bytes=len(bundle.data)),
    )
    arguments = [service.codec.encode_arguments((), {}).data]
    run = worker_pb2.UnitRun(function_digest=definition.digest, arguments=arguments)
    return definition, run


def test_the_users_own_modules_come_along_in_their_own_version(service, worker, project):
    first, second = shipped(service, project(1)), shipped(service, project(2))
    assert first[0].digest != second[0].digest
    found = service.outcomes(worker, service.batch(first))
    assert found == {(0, 0): 1}
    found = service.outcomes(worker, service.batch(second, first))
    assert found == {(0, 0): 2, (1, 0): 1}


def test_modules_are_unpacked_below_the_working_folder(service, worker, project, tmp_path):
    service.outcomes(worker, service.batch(shipped(service, project(1))))
    (unpacked,) = (tmp_path / "host" / ".gridloom-modules").glob("sha256-*")
    assert {"gl_user_code.py", "gl_user_helper.py"} <= {each.name for each in unpacked.iterdir()}
