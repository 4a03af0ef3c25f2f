"""A process worker and the world around it: its service, its host, the job's log."""

from __future__ import annotations

import os
import sys
import time

from gridloom.api.functions.v1 import worker_pb2
from gridloom.errors import PayloadTooLargeError

from tests.unit.worker.pool_service import POOL_ID, eventually


def double(x):
    return 2 * x


def _wait_for(path):
    from gridloom.worker.context import waiting

    with waiting():
        while not os.path.exists(path):  # noqa: PTH110
            time.sleep(0.01)
    return "waited"


def _wait_quietly(path):
    while not os.path.exists(path):  # noqa: PTH110
        time.sleep(0.01)


def _speak(times):
    print("from python")
    os.write(1, b"from below\n")
    os.system("echo from a program; echo an error >&2")
    return times


def test_the_hello_says_who_it_is(worker):
    hello = worker.hello
    assert hello.worker_id == "job_test.a1.here.0.1"
    assert hello.host_id == "job_test.a1.here.0"
    assert hello.pool_id == POOL_ID
    assert hello.slots == 1
    assert hello.python == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_a_result_over_the_limit_is_refused_with_both_sizes(service, start_host):
    service.limits = {"inline_limit_bytes": 1000, "payload_limit_bytes": 10_000}
    start_host()
    error = service.call(service.worker(), lambda: bytes(20_000))
    assert type(error) is PayloadTooLargeError
    assert "20,0" in str(error)
    assert "10,000 bytes" in str(error)


def test_another_worker_comes_for_a_call_that_waits(service, worker, tmp_path):
    path = tmp_path / "go"
    batch = service.batch(service.calls(_wait_for, (str(path),)))
    worker.send(batch=batch)
    other = service.worker()
    assert service.call(other, double, 2) == 4
    path.touch()
    assert service.collect(worker, batch)[0, 0] == "waited"


def test_without_capture_output_goes_to_the_log(service, start_host):
    host = start_host()
    worker = service.worker()
    assert service.call(worker, _speak, 1) == 1
    eventually(lambda: b"from python\nfrom below\nfrom a program\n" in host.log.read_bytes())
    assert not worker.seen("output")


def test_a_drained_worker_finishes_what_it_holds_and_goes(service, worker):
    first = service.batch(service.calls(lambda: time.sleep(0.2) or 1, ()))
    second = service.batch(service.calls(double, (2,)))
    worker.send(batch=first)
    worker.send(batch=second)
    worker.send(drain=worker_pb2.Drain())
    assert service.collect(worker, first)[0, 0] == 1
    assert service.collect(worker, second)[0, 0] == 4
    assert worker.closed.wait(10)


def test_a_worker_comes_back_to_a_restarted_service(service, worker):
    service.stop()
    service.listen()
    again = service.worker()
    assert again.hello.pid == worker.hello.pid
    assert service.call(again, double, 3) == 6


def test_a_service_that_goes_during_a_call_hears_no_more_of_it(service, worker, tmp_path):
    path = tmp_path / "go"
    worker.send(batch=service.batch(service.calls(_wait_quietly, (str(path),), (str(path),))))
    time.sleep(0.1)
    service.stop()
    service.listen()
    path.touch()
    again = service.worker()
    assert service.call(again, double, 3) == 6
    assert not again.seen("results")
