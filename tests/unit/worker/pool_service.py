"""A service small enough for a test: it speaks frames with real hosts and workers over a socket."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import cloudpickle
from gridloom.api.functions.v1 import call_pb2, pool_pb2, session_pb2, worker_pb2
from gridloom.errors import exception_from_call_error
from gridloom.items import CALL, VALUE, Form, Items
from gridloom.payload import PayloadCodec
from gridloom.worker.frames import FrameBuffer, encode_frame

PATIENCE_S = 30.0
POOL_ID = "pool_test"
TOKEN = "a-gang-token"
EPOCH = 7


class Connection:
    """A host or a worker, as the service sees it."""

    def __init__(self, sock, hello):
        self.socket = sock
        self.hello = hello
        self.frames = queue.SimpleQueue()
        self.closed = threading.Event()
        self._kept = []

    def send(self, **body):
        self.socket.sendall(encode_frame(worker_pb2.ServiceFrame(**body)))

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)

    def take(self, kind, where=lambda _: True, timeout_s=PATIENCE_S):
        """The next frame of this kind; others are kept for those who ask for them."""
        deadline = time.monotonic() + timeout_s
        for frame in self._kept:
            if frame.HasField(kind) and where(getattr(frame, kind)):
                self._kept.remove(frame)
                return getattr(frame, kind)
        while True:
            frame = self.frames.get(timeout=max(deadline - time.monotonic(), 0.001))
            if frame is None:
                self.frames.put(None)
                raise ConnectionError(f"closed while waiting for {kind}")
            if frame.HasField(kind) and where(getattr(frame, kind)):
                return getattr(frame, kind)
            self._kept.append(frame)

    def seen(self, kind):
        """Take all frames of this kind that are here."""
        while not self.frames.empty():
            self._kept.append(self.frames.get())
        found = [f for f in self._kept if f is not None and f.HasField(kind)]
        self._kept = [f for f in self._kept if f is None or not f.HasField(kind)]
        return [getattr(frame, kind) for frame in found]


class PoolService:
    """Accepts hosts and workers; batches are sent by the test."""

    def __init__(self, path, limits=None):
        self.path = str(path)
        self.limits = limits or {}
        self.codec = PayloadCodec()
        self.hosts = queue.SimpleQueue()
        self.workers = queue.SimpleQueue()
        self.connections = []
        self._numbers = itertools.count(1)
        self._listener = None

    def listen(self):
        Path(self.path).unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self):
        """Go away, as a service does that is killed."""
        listener, self._listener = self._listener, None
        Path(self.path).unlink(missing_ok=True)
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in self.connections:
            try:
                connection.close()
            except OSError:
                continue
        self.connections = []

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        buffer, connection = FrameBuffer(), None
        with sock:
            while data := _received(sock):
                buffer.feed(data)
                while (body := buffer.take()) is not None:
                    frame = worker_pb2.WorkerFrame.FromString(body)
                    if connection is None:
                        connection = self._welcome(sock, frame.hello)
                    else:
                        connection.frames.put(frame)
        if connection is not None:
            connection.closed.set()
            connection.frames.put(None)

    def _welcome(self, sock, hello):
        assert hello.token == TOKEN
        connection = Connection(sock, hello)
        self.connections.append(connection)
        welcome = worker_pb2.WorkerWelcome(epoch=EPOCH, **self.limits)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it was killed meanwhile
            connection.send(welcome=welcome)
        is_host = hello.kind == worker_pb2.WorkerHello.KIND_HOST
        (self.hosts if is_host else self.workers).put(connection)
        return connection

    def host(self):
        return self.hosts.get(timeout=PATIENCE_S)

    def worker(self, timeout_s=PATIENCE_S):
        return self.workers.get(timeout=timeout_s)

    # ---- batches

    def batch(self, *runs):
        """A batch of `(function, definition, UnitRun)` triples."""
        definitions = {each.digest: each for each, _ in runs}
        return worker_pb2.Batch(
            epoch=EPOCH,
            number=next(self._numbers),
            functions=definitions.values(),
            runs=[run for _, run in runs],
        )

    def calls(self, function, *arguments, **options):
        """A run of plain calls, each given as its tuple of positional arguments."""
        definition = self.definition(function)
        envelopes = [self.codec.encode_arguments(args, {}).data for args in arguments]
        sequences = list(range(1, len(envelopes) + 1))
        run = worker_pb2.UnitRun(
            function_digest=definition.digest,
            arguments=envelopes,
            session="abcdefghij234567",
            sequences=sequences,
            attempt=1,
            **options,
        )
        return definition, run

    def chunk(self, function, values, *, first=0, count=None, form=None, **options):
        """A run of one chunk: the function is called with each value, or as the form says."""
        definition = self.definition(function)
        items = Items(form or Form(VALUE), list(values))
        sealed = self.codec.encode_chunk(items)
        if items.form.kind == CALL:  # as chunks were before there were forms
            sealed = self.codec.encode_values(items.own)
        count = len(items.own) - first if count is None else count
        run = worker_pb2.UnitRun(
            function_digest=definition.digest,
            arguments=[sealed.data],
            ranges=[call_pb2.ItemRange(first=first, count=count)],
            session="abcdefghij234567",
            sequences=[1],
            attempt=1,
            **options,
        )
        return definition, run

    def definition(self, function):
        with _by_value(function):
            code = self.codec.encode_function(function).data
        return session_pb2.FunctionDefinition(
            digest=hashlib.sha256(code).digest(),
            name=getattr(function, "__name__", "function"),
            code=code,
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
        )

    def outcomes(self, worker, batch):
        """Send a batch and collect `{(unit, item): value or exception}` until it is done."""
        worker.send(batch=batch)
        return self.collect(worker, batch)

    def collect(self, worker, batch):
        found = {}
        while True:
            results = worker.take("results", lambda r: r.batch == batch.number)
            assert results.epoch == EPOCH
            for run in results.runs:
                found.update(self._opened(run))
            if results.last:
                return found

    def _opened(self, run):
        found = {}
        for position, (status, value) in enumerate(zip(run.statuses, run.values, strict=True)):
            if run.ranges:
                found.update(self._opened_items(run, status, value))
            else:
                found[run.first_unit + position, 0] = self.outcome(status, value)
        return found

    def _opened_items(self, run, status, value):
        (items,) = run.ranges
        outcome = self.outcome(status, value)
        values = outcome if status == call_pb2.CALL_STATUS_OK else [outcome] * items.count
        assert len(values) == items.count
        return {(run.first_unit, items.first + offset): each for offset, each in enumerate(values)}

    def outcome(self, status, value):
        if status == call_pb2.CALL_STATUS_OK:
            return self.codec.decode(value)
        if status == call_pb2.CALL_STATUS_UNSPECIFIED:
            return GIVEN_BACK
        error = exception_from_call_error(status, call_pb2.CallError.FromString(value))
        error.call_status = call_pb2.CallStatus.Name(status)
        return error

    def call(self, worker, function, *args, **options):
        """One call; what it returned, or the exception as a value."""
        return self.outcomes(worker, self.batch(self.calls(function, args, **options)))[0, 0]


@contextmanager
def _by_value(function):
    """Pickle a test module's function as if it lived in `__main__`."""
    module = sys.modules[getattr(function, "func", function).__module__]
    with _by_value_lock:
        cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            cloudpickle.unregister_pickle_by_value(module)


_by_value_lock = threading.Lock()
GIVEN_BACK = "given back"


def _received(sock):
    try:
        return sock.recv(1 << 20)
    except OSError:
        return b""


class HostProcess:
    """A pool host as its supervisor runs it."""

    def __init__(self, folder, service, spec=None, *, replicas=1, **environment):
        self.folder = Path(folder)
        self.replicas_file = self.folder / "replicas"
        self.reports = self.folder / "report"
        self.log = self.folder / "log"
        os.mkfifo(self.reports)
        self._reports = os.open(self.reports, os.O_RDWR | os.O_NONBLOCK)
        self._lines = b""
        self.grant(range(replicas), notify=False)
        spec = spec or pool_pb2.PoolSpec()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gridloom.worker.pool_host"],
                env=os.environ | self._environment(service, spec, replicas) | environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environment(self, service, spec, replicas):
        return {
            "GRIDLOOM_POOL_ID": POOL_ID,
            "GRIDLOOM_POOL_SPEC": base64.b64encode(spec.SerializeToString()).decode(),
            "GRIDLOOM_FUNCTIONS_SOCKET": service.path,
            "GRIDLOOM_TOKEN": TOKEN,
            "GRIDLOOM_JOB_ID": "job_test",
            "GRIDLOOM_ATTEMPT": "1",
            "GRIDLOOM_NODE": "here",
            "GRIDLOOM_REPLICA_INDEX": "0",
            "GRIDLOOM_REPLICAS": str(replicas),
            "GRIDLOOM_REPLICAS_FILE": str(self.replicas_file),
            "GRIDLOOM_REPORT_FILE": str(self.reports),
            "GRIDLOOM_WORKDIR": str(self.folder),
        }

    def grant(self, indices, *, notify=True):
        """Say which replicas are here, as the supervisor does."""
        aside = self.replicas_file.with_suffix(".new")
        aside.write_text(" ".join(map(str, indices)) + "\n")
        aside.rename(self.replicas_file)
        if notify:
            self.process.send_signal(1)

    def report(self, timeout_s=PATIENCE_S):
        """The next line that the host has reported."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._lines:
            assert time.monotonic() < deadline, "nothing was reported"
            try:
                self._lines += os.read(self._reports, 4096)
            except BlockingIOError:
                time.sleep(0.01)
        line, _, self._lines = self._lines.partition(b"\n")
        return line.decode()

    def wait(self, timeout_s=PATIENCE_S):
        return self.process.wait(timeout_s)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._reports)


@contextmanager
def running_service(path, **options):
    service = PoolService(path, **options)
    service.listen()
    try:
        yield service
    finally:
        service.stop()


def eventually(check, timeout_s=PATIENCE_S):
    """Wait until the check holds; its last value."""
    deadline = time.monotonic() + timeout_s
    while not (value := check()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)
    return value
