"""A real host and its workers: what ends them, and what the service and the supervisor hear."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gridloom.api.functions.v1 import pool_pb2, worker_pb2
from gridloom.errors import TimeLimitError
from gridloom.payload import PayloadCodec

from tests.unit.worker.pool_service import eventually

MIB = 1024 * 1024


def double(x):
    return 2 * x


def pool(**fields):
    return pool_pb2.PoolSpec(**fields)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def run_and_die(service, worker, host, function, *args, **options):
    """Send a call that its worker does not survive; what the host said of it."""
    batch = service.batch(service.calls(function, args, **options))
    worker.send(batch=batch)
    died = host.take("died", lambda notice: notice.worker_id == worker.hello.worker_id)
    assert worker.closed.wait(10)
    return batch, died


@pytest.fixture
def one(service, start_host):
    """A host with one worker: the connections of both, and the process."""
    process = start_host()
    return service.worker(), service.host(), process


# ---- workers that die


def test_an_exit_in_a_call_ends_the_worker_and_the_service_hears_in_which_call(service, one):
    worker, host, _ = one
    first = service.call(worker, double, 1)
    batch, died = run_and_die(service, worker, host, os._exit, 5)
    assert first == 2
    assert (died.exit_code, died.signal) == (5, 0)
    assert (died.busy, died.batch, died.unit, died.item) == (True, batch.number, 0, 0)


def test_a_dead_worker_is_replaced(service, one):
    worker, host, _ = one
    run_and_die(service, worker, host, os._exit, 5)
    second = service.worker()
    assert second.hello.worker_id != worker.hello.worker_id
    assert service.call(second, double, 2) == 4


def test_a_segfault_says_its_signal(service, one):
    def crash():
        import ctypes

        ctypes.string_at(0)

    worker, host, _ = one
    _, died = run_and_die(service, worker, host, crash)
    assert died.signal == signal.SIGSEGV
    assert died.busy


def test_a_crash_says_where_it_was(service, one):
    def crash_here():
        import ctypes

        ctypes.string_at(0)

    worker, host, _ = one
    run_and_die(service, worker, host, crash_here, capture_output=True)
    printed = b"".join(output.data for output in host.seen("output"))
    assert b"Segmentation fault" in printed
    assert b"crash_here" in printed


def test_the_item_of_a_chunk_that_killed_its_worker_is_named(service, one):
    worker, host, _ = one
    batch = service.batch(
        service.calls(double, (1,)),
        service.chunk(lambda x: os._exit(1) if x == 3 else x, range(6)),
    )
    worker.send(batch=batch)
    died = host.take("died")
    assert (died.batch, died.unit, died.item) == (batch.number, 1, 3)


def test_a_worker_killed_between_calls_was_in_none(service, one):
    worker, host, _ = one
    assert service.call(worker, double, 1) == 2
    os.kill(worker.hello.pid, signal.SIGKILL)
    died = host.take("died")
    assert died.signal == signal.SIGKILL
    assert not died.busy


def test_what_a_dead_worker_had_printed_comes_from_its_host(service, one):
    def speak_and_die():
        os.write(1, b"last words\n")
        os._exit(1)

    worker, host, _ = one
    batch, _ = run_and_die(service, worker, host, speak_and_die, capture_output=True)
    (output,) = host.seen("output")
    assert (output.batch, output.unit, output.data) == (batch.number, 0, b"last words\n")


def test_what_a_worker_has_started_ends_with_it(service, one, tmp_path):
    path = tmp_path / "pids"

    def leave_behind(where):
        children = [
            subprocess.Popen(["sleep", "1000"]),
            subprocess.Popen(["sleep", "1000"], start_new_session=True),
        ]
        with open(where, "w") as file:  # noqa: PTH123
            file.write(" ".join(str(child.pid) for child in children))
        os._exit(1)

    worker, host, _ = one
    run_and_die(service, worker, host, leave_behind, str(path))
    pids = [int(pid) for pid in path.read_text().split()]
    eventually(lambda: not any(map(is_alive, pids)))


def test_a_daemon_that_a_live_worker_started_is_left_alone(service, start_host):
    start_host(replicas=2)
    first, second = service.worker(), service.worker()

    def daemon():
        if (child := os.fork()) == 0:
            os.setsid()
            if (grandchild := os.fork()) == 0:
                os.execvp("sleep", ["sleep", "1000"])
            os.write(writing, str(grandchild).encode())
            os._exit(0)
        os.waitpid(child, 0)
        return int(os.read(reading, 100))

    def make():
        global reading, writing
        reading, writing = os.pipe()
        return daemon()

    pid = service.call(first, make)
    assert is_alive(pid)
    second.send(batch=service.batch(service.calls(os._exit, (1,))))
    service.host().take("died")
    service.worker()
    assert is_alive(pid)
    os.kill(first.hello.pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid))


def test_too_much_memory_ends_the_worker_and_is_called_by_its_name(service, start_host):
    def swell():
        block = []
        while True:
            block.append(bytearray(8 * MIB))
            time.sleep(0.01)

    start_host(pool(resources={"memory": 256 * MIB}))
    worker, host = service.worker(), service.host()
    _, died = run_and_die(service, worker, host, swell)
    assert died.out_of_memory
    assert died.busy
    assert 200 * MIB < died.peak_memory_bytes < 400 * MIB
    assert 128 * MIB <= died.limit_memory_bytes < died.peak_memory_bytes
    assert service.call(service.worker(), double, 1) == 2


def test_memory_of_programs_that_a_call_starts_counts(service, start_host):
    def swell():
        code = "import time\nb = bytearray(400 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1\n"
        subprocess.run([sys.executable, "-c", code + "time.sleep(60)"], check=True)

    start_host(pool(resources={"memory": 256 * MIB}))
    worker, host = service.worker(), service.host()
    _, died = run_and_die(service, worker, host, swell)
    assert died.out_of_memory


# ---- time


def _deaf():
    """Does not listen to anything but SIGKILL."""
    while True:
        try:
            time.sleep(60)
        except BaseException:  # noqa: BLE001
            continue


def test_a_call_that_does_not_heed_its_timeout_is_killed_with_its_worker(service, one):
    worker, host, _ = one
    batch, died = run_and_die(service, worker, host, _deaf, timeout_ms=100)
    assert died.timed_out
    assert (died.busy, died.batch, died.unit) == (True, batch.number, 0)
    assert service.call(service.worker(), double, 1) == 2


def test_a_call_stuck_below_python_is_killed_after_its_timeout(service, one):
    def stuck():
        import ctypes

        ctypes.PyDLL(None).sleep(1000)  # holds the GIL; EINTR only shortens it
        ctypes.PyDLL(None).sleep(1000)

    def stuck_for_good():
        import ctypes

        libc = ctypes.PyDLL(None)
        libc.signal(signal.SIGRTMIN + 9, 1)  # ignored, below Python
        libc.sleep(1000)

    worker, host, _ = one
    assert type(service.call(worker, stuck, timeout_ms=100)) is TimeLimitError
    _, died = run_and_die(service, worker, host, stuck_for_good, timeout_ms=100)
    assert died.timed_out


def test_a_cancelled_call_that_goes_on_is_killed_after_the_grace(service, one):
    worker, host, _ = one
    batch = service.batch(service.calls(_deaf, ()))
    worker.send(batch=batch)
    time.sleep(0.1)
    cancel = worker_pb2.UnitCancel(batch=batch.number, unit=0, running=True, grace_ms=200)
    worker.send(cancel=cancel)
    died = host.take("died")
    assert (died.signal, died.timed_out, died.batch) == (signal.SIGKILL, False, batch.number)


def test_a_cancel_told_to_the_host_alone_ends_the_call_too(service, one):
    worker, host, _ = one
    batch = service.batch(service.calls(time.sleep, (60,)))
    worker.send(batch=batch)
    time.sleep(0.1)
    cancel = worker_pb2.UnitCancel(batch=batch.number, unit=0, running=True, grace_ms=5000)
    host.send(cancel=cancel)
    found = service.collect(worker, batch)
    assert type(found[0, 0]).__name__ == "CancelledError"
    assert service.call(worker, double, 2) == 4
    assert not host.seen("died")


# ---- how many


def test_there_is_a_worker_for_each_replica(service, start_host):
    start_host(replicas=3)
    numbers = {service.worker().hello.worker_id for _ in range(3)}
    assert numbers == {f"job_test.a1.here.0.{number}" for number in (1, 2, 3)}
    host = service.host()
    assert host.take("host", lambda status: status.workers == 3).broken == ""


def test_growth_brings_a_worker_and_its_loss_is_reported(service, start_host):
    host = start_host()
    assert host.report() == "notify"
    first = service.worker()
    host.grant([0, 1])
    second = service.worker()
    worker_kept, worker_gone = first, second
    worker_kept.send(batch=(batch := service.batch(service.calls(time.sleep, (1,)))))
    time.sleep(0.1)
    host.grant([1])
    assert host.report() == "ended 0 0"
    assert worker_gone.closed.is_set()
    assert service.collect(worker_kept, batch)[0, 0] is None
    assert service.call(worker_kept, double, 4) == 8


def test_the_service_may_ask_for_fewer_and_for_more(service, start_host):
    start_host(replicas=2)
    host = service.host()
    service.worker(), service.worker()
    host.send(resize=worker_pb2.HostResize(workers=1))
    assert host.take("died").exit_code == 0
    host.send(resize=worker_pb2.HostResize(workers=5))
    service.worker()
    assert host.take("host", lambda status: status.workers == 2)


def test_a_drained_host_ends_after_its_calls(service, one):
    worker, host, process = one
    batch = service.batch(service.calls(lambda: time.sleep(0.3) or "done", ()))
    worker.send(batch=batch)
    time.sleep(0.1)
    host.send(drain=worker_pb2.Drain())
    assert service.collect(worker, batch)[0, 0] == "done"
    assert process.wait() == 0


def test_a_host_that_is_to_end_at_once_does_not_wait_for_its_calls(service, one):
    worker, host, process = one
    worker.send(batch=service.batch(service.calls(lambda: time.sleep(300), ())))
    host.send(drain=worker_pb2.Drain(at_once=True))
    assert process.wait() == 0
    assert not is_alive(worker.hello.pid)


def test_sigterm_lets_the_present_calls_end(service, one):
    worker, _, process = one
    batch = service.batch(service.calls(lambda: time.sleep(0.3) or "done", ()))
    worker.send(batch=batch)
    time.sleep(0.1)
    process.process.terminate()
    assert service.collect(worker, batch)[0, 0] == "done"
    assert process.wait() == 0


def test_workers_die_with_their_host(one):
    worker, _, process = one
    process.process.kill()
    eventually(lambda: not is_alive(worker.hello.pid))


# ---- the service goes


def test_a_host_comes_back_to_a_restarted_service(service, one):
    worker, host, process = one
    service.stop()
    service.listen()
    again = service.host()
    assert again.hello.pid == host.hello.pid
    assert again.take("host").workers == 1
    assert service.worker().hello.pid == worker.hello.pid
    assert process.process.poll() is None


def test_a_host_ends_when_the_service_stays_away(service, start_host):
    process = start_host(GRIDLOOM_POOL_PATIENCE_S="0.5")
    worker = service.worker()
    service.stop()
    assert process.wait() == 0
    eventually(lambda: not is_alive(worker.hello.pid))


# ---- the initialiser


def initialised_by(function, *args):
    from tests.unit.worker.pool_service import _by_value

    with _by_value(function):
        return pool(initializer=PayloadCodec().encode_initializer(function, args).data)


def test_the_initialiser_runs_once_in_each_worker(service, start_host):
    def prepare(value):
        os.environ["GRIDLOOM_TEST_PREPARED"] = os.environ.get("GRIDLOOM_TEST_PREPARED", "") + value

    start_host(initialised_by(prepare, "x"))
    worker = service.worker()
    assert service.call(worker, lambda: os.environ["GRIDLOOM_TEST_PREPARED"]) == "x"
    assert service.call(worker, lambda: os.environ["GRIDLOOM_TEST_PREPARED"]) == "x"


def test_an_initialiser_that_raises_breaks_the_pool_with_its_traceback(service, start_host):
    def prepare():
        raise RuntimeError("no licence")

    process = start_host(initialised_by(prepare))
    broken = service.host().take("host", lambda status: status.broken)
    assert "RuntimeError: no licence" in broken.broken
    assert broken.workers == 0
    assert process.process.poll() is None


def test_an_initialiser_that_dies_again_and_again_breaks_the_pool(service, start_host):
    start_host(initialised_by(os._exit, 9))
    broken = service.host().take("host", lambda status: status.broken)
    assert "exit code 9" in broken.broken


def test_a_host_without_its_environment_says_so():
    done = subprocess.run(
        [sys.executable, "-m", "gridloom.worker.pool_host"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"GRIDLOOM_POOL_SPEC" in done.stderr
