from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from gridloom.worker.pod.message import Farewell
from gridloom.worker.pod.order import Order, read_order
from gridloom.worker.pod.sidecar import Sidecar

from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# As the container's first program does it.
BECOME = 'echo $$ >"$0/pid"; exec "$@" >>"$0/stdout" 2>>"$0/stderr"'


class FolderStore:
    """An object store in memory, or one in trouble."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble = trouble
        self.kept: dict[str, bytes] = {}

    def keep(self, path: Path) -> str:
        if self.trouble:
            raise self.trouble
        digest = f"digest-{len(self.kept)}"
        self.kept[digest] = path.read_bytes()
        return digest

    keep_for_a_while = keep


class Pod:
    """The folders of a pod, and what happens in it."""

    def __init__(self, root: Path) -> None:
        self.run, self.told, self.work = root / "run", root / "orders", root / "work"
        for folder in (self.run, self.told, self.work):
            folder.mkdir()
        self.store = FolderStore()

    def order(self, **changes: object) -> Order:
        return Order(self.work, "job_a", **{"grace_s": 5.0, **changes})

    def say(self, name: str, record: object) -> None:
        aside = self.told / f".{name}"
        aside.write_text(json.dumps(record))
        aside.rename(self.told / name)

    @contextmanager
    def command(self, script: str) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            ["sh", "-c", BECOME, str(self.run), "sh", "-c", script],
            cwd=self.work,
            start_new_session=True,
        )
        # Whoever began it takes note of its end, as a kubelet does.
        reaper = threading.Thread(target=process.wait)
        reaper.start()
        try:
            yield process
        finally:
            process.kill()
            reaper.join()

    def watch(self, script: str, order: Order | None = None) -> tuple[Farewell, int]:
        with self.command(script) as process:
            farewell = Sidecar(order or self.order(), self.store, self.run, self.told).run()
        return farewell, process.returncode


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_streams_and_outputs_are_brought_out(pod):
    order = pod.order(outputs=("*.txt",))
    script = "printf out; printf err >&2; printf 42 > a.txt; echo x > b.log; exit 3"
    farewell, code = pod.watch(script, order)
    assert code == 3
    assert (farewell.failure_class, farewell.reason, farewell.trouble) == ("NONE", "", "")
    ((path, digest, size, mode),) = farewell.outputs
    assert (path, pod.store.kept[digest], size, mode & 0o700) == ("a.txt", b"42", 2, 0o600)
    streams = {name: pod.store.kept[each.digest] for name, each in farewell.logs.items()}
    assert streams == {"stdout": b"out", "stderr": b"err"}


def test_the_time_limit_ends_the_command(pod):
    farewell, code = pod.watch("sleep 100", pod.order(time_limit_s=0.1))
    assert (farewell.failure_class, farewell.reason) == ("TIME_LIMIT", "the time limit of 0.1 s")
    assert code == -15


def test_an_order_to_stop_ends_the_command(pod):
    pod.say("stop", {"grace_s": 60, "reason": "enough"})
    farewell, code = pod.watch("sleep 100")
    assert (farewell.failure_class, farewell.reason, code) == ("CANCELLED", "enough", -15)


def test_a_command_that_does_not_listen_is_killed_after_the_shortest_grace(pod):
    with pod.command("trap '' TERM; echo deaf; while :; do sleep 1; done") as process:
        said = pod.run / "stdout"
        eventually_now(lambda: said.exists() and said.read_bytes() == b"deaf\n")
        pod.say("stop", {"grace_s": 600, "reason": "first"})
        sidecar = Sidecar(pod.order(), pod.store, pod.run, pod.told)
        timer = threading.Timer(0.2, pod.say, ("stop", {"grace_s": 0, "reason": "second"}))
        timer.start()
        farewell = sidecar.run()
        timer.join()
    assert (farewell.failure_class, farewell.reason) == ("CANCELLED", "first")
    assert process.returncode == -9


def test_a_command_that_does_not_listen_is_kept_to_its_grace_when_its_pod_is_deleted(pod):
    (pod.work / "a.txt").write_text("42")
    with pod.command("trap '' TERM; echo deaf; while :; do sleep 1; done") as process:
        said = pod.run / "stdout"
        eventually_now(lambda: said.exists() and said.read_bytes() == b"deaf\n")
        (pod.run / "deleted").touch()
        order = pod.order(grace_s=0.1, outputs=("*.txt",))
        farewell = Sidecar(order, pod.store, pod.run, pod.told).run()
    assert process.returncode == -9
    # Why it was deleted is not for its sidecar to say; what it left is brought out all the same.
    assert (farewell.failure_class, len(farewell.outputs)) == ("NONE", 1)


def test_a_list_of_outputs_that_is_too_long_to_be_told_is_stored(pod):
    farewell, _ = pod.watch(
        "for i in $(seq 200); do echo $i > a-rather-long-name-$i.txt; done",
        pod.order(outputs=("*.txt",)),
    )
    assert farewell.outputs == ()
    listed = json.loads(pod.store.kept[farewell.outputs_digest])
    assert len(listed) == 200
    assert len(farewell.to_text()) < 4096


def test_a_store_that_is_in_trouble_is_told_of_and_keeps_nobody(pod):
    pod.store.trouble = OSError("no way there")
    farewell, _ = pod.watch("echo 42 > a.txt", pod.order(outputs=("*.txt",)))
    assert farewell.trouble == "its outputs could not be stored: no way there"
    assert farewell.logs == {}


def test_a_stream_keeps_its_beginning_and_its_end(pod):
    limit = 64 << 10
    script = "head -c 500000 /dev/zero | tr '\\0' a; sleep 0.6; printf the-end"
    farewell, _ = pod.watch(script, pod.order(log_limit_bytes=limit))
    stream = farewell.logs["stdout"]
    kept = pod.store.kept[stream.digest]
    assert kept.startswith(b"a" * 1000)
    assert kept.endswith(b"the-end")
    assert stream.first == limit // 2
    assert len(kept) + stream.end - stream.first == 500_007


def test_a_sidecar_whose_command_never_began_goes_when_it_is_told_to(pod):
    sidecar = Sidecar(pod.order(), pod.store, pod.run, pod.told)
    sidecar.is_dismissed = True
    assert sidecar.run() == Farewell()


def test_what_is_told_to_go_before_it_listens_still_leaves_word_and_goes(pod):
    with pod.command("exit 0") as command:
        command.wait()
    message = pod.work / "message"
    program = f"""
        from pathlib import Path
        from gridloom.worker.pod import order, sidecar
        order.RUN, order.MESSAGE = Path({str(pod.run)!r}), Path({str(message)!r})
        sidecar.main()
    """
    record = {"workdir": str(pod.work), "outputs": [], "time_limit_s": None, "grace_s": 1.0}
    record |= {"log_limit_bytes": 5, "replicas": []}
    environment = {"GRIDLOOM_JOB_ID": "job_a", "GRIDLOOM_SIDECAR": json.dumps(record)}
    shell = ["sh", "-c", "trap '' TERM; echo; exec \"$@\"", "sh"]
    with subprocess.Popen(
        [*shell, sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
    ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        started.terminate()
    assert started.returncode == 0
    assert json.loads(message.read_text())["logs"] == {}


def test_replicas_that_share_a_process_are_told_and_report(pod, monkeypatch):
    monkeypatch.chdir(pod.run)
    # Not `capsys`: what is written while it is read there is lost.
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    pod.say("replicas", [1])
    script = f"""
        until grep -qx 1 {pod.run}/replicas; do sleep 0.02; done
        echo 'ended 0 0' > {pod.run}/report
        until [ -e {pod.run}/seen ]; do sleep 0.02; done
        exit 5
    """
    sidecar = Sidecar(pod.order(replicas=(0, 1)), pod.store, pod.run, pod.told)
    result: list[Farewell] = []
    with pod.command(script):
        watching = threading.Thread(target=lambda: result.append(sidecar.run()))
        watching.start()
        eventually_now(lambda: "\n" in out.getvalue())
        (pod.run / "seen").touch()
        watching.join()
    assert out.getvalue().startswith("ended 0 0 0 CANCELLED ")
    assert result[0].ended["0"][:3] == (0, 0, "CANCELLED")


def test_what_the_environment_says_is_read():
    record = {
        "workdir": "/w",
        "outputs": ["a"],
        "time_limit_s": None,
        "grace_s": 1.0,
        "log_limit_bytes": 5,
        "replicas": [2, 3],
    }
    environment = {"GRIDLOOM_JOB_ID": "job_a", "GRIDLOOM_SIDECAR": json.dumps(record)}
    order = read_order(environment)
    assert (str(order.workdir), order.outputs, order.replicas) == ("/w", ("a",), (2, 3))
    assert order.time_limit_s is None
