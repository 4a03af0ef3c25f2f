"""What the local runtime promises beyond the contract."""

from __future__ import annotations

import errno
import json
import signal
import stat
import time
from typing import TYPE_CHECKING

import pytest
from gridloom.worker.supervision import handover, processes
from gridloom_services.scheduler.runtime import local
from gridloom_services.scheduler.runtime.base import (
    ExecChunk,
    Gang,
    GangRole,
    InputFile,
    LogStream,
    Phase,
)
from gridloom_services.scheduler.runtime.folders import Root
from gridloom_services.scheduler.runtime.local import LocalSettings, RootInUseError
from gridloom_services.scheduler.runtime.machine import Claim
from gridloom_services.scheduler.runtime.units import Limits, first_units
from gridloom_services.scheduler.states import FailureClass

from tests.support.eventually import eventually
from tests.support.runtimes import (
    LocalStage,
    Watcher,
    clear,
    digest_of,
    everywhere,
    gang,
    opened,
    some,
)
from tests.support.supervised import UNTIL_GO, is_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gridloom_services.scheduler.runtime.base import Runtime

NAME = "job_a-a1"
SETTINGS = LocalSettings(
    limits=Limits(grace_s=0.5, log_limit_bytes=1 << 20), storing_patience_s=0.3
)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[LocalStage]:
    made = LocalStage(tmp_path / "gangs", SETTINGS)
    yield made
    made.objects.troubles.clear()
    await clear(made)


@pytest.fixture
async def open_runtime(stage: LocalStage) -> AsyncIterator[tuple[Runtime, Watcher]]:
    async with opened(stage) as pair:
        yield pair


@pytest.fixture
def runtime(open_runtime: tuple[Runtime, Watcher]) -> Runtime:
    return open_runtime[0]


@pytest.fixture
def watcher(open_runtime: tuple[Runtime, Watcher]) -> Watcher:
    return open_runtime[1]


def shell(script: str, **role: object) -> Gang:
    return gang("sh", "-c", script, **role)


async def run(runtime: Runtime, watcher: Watcher, made: Gang):
    await runtime.start(made, everywhere(made))
    return await watcher.ended(made.name)


async def printed(runtime: Runtime, stream: LogStream = LogStream.STDOUT) -> bytes:
    return (await runtime.logs(NAME, "main", 0, stream)).data


async def test_two_runtimes_on_one_folder_are_one_too_many(stage, runtime):
    del runtime
    second = stage.make()
    with pytest.raises(RootInUseError, match=str(stage.root)):
        await second.open()
    await second.close()


async def test_a_job_has_the_files_that_were_sent_along(stage, runtime, watcher):
    script = b"#!/bin/sh\ncat data/in.txt\n"
    files = (
        InputFile("data/in.txt", stage.objects.put(b"input"), 5),
        InputFile("run.sh", stage.objects.put(script), len(script), 0o755),
    )
    end = await run(runtime, watcher, gang("./run.sh", files=files))
    assert end.succeeded, end.reason
    assert await printed(runtime) == b"input"


async def test_a_file_that_nobody_has_ends_the_replica_before_it_starts(runtime, watcher):
    files = (InputFile("in.txt", digest_of(b"lost"), 4),)
    end = await run(runtime, watcher, shell("echo started", files=files))
    assert (end.exit_code, end.failure_class) == (125, FailureClass.APPLICATION_ERROR)
    assert end.reason == f"the input file 'in.txt': there is no object {digest_of(b'lost')}"
    assert await printed(runtime) == b""


async def test_outputs_wait_for_a_store_that_is_in_trouble(stage, runtime, watcher):
    stage.objects.troubles = [OSError(errno.ENOSPC, "No space left on device")]
    end = await run(runtime, watcher, shell("echo hi > a.txt", outputs=("*.txt",)))
    assert [file.path for file in end.outputs] == ["a.txt"]


async def test_a_success_whose_outputs_are_lost_is_the_platforms_failure(stage, runtime, watcher):
    stage.objects.troubles = [OSError(errno.ENOSPC, "No space left on device")] * 50
    end = await run(runtime, watcher, shell("echo hi > a.txt", outputs=("*.txt",)))
    assert (end.exit_code, end.failure_class) == (0, FailureClass.NODE_LOST)
    assert "'a.txt' is not stored" in end.reason


async def test_outputs_that_were_not_stored_yet_are_stored_after_a_restart(stage):
    stage.settings = LocalSettings(storing_patience_s=100)
    stage.objects.troubles = [OSError(errno.ENOSPC, "No space left on device")] * 50
    async with opened(stage) as (runtime, watcher):
        made = shell("echo hi > a.txt; exit 3", outputs=("*.txt",))
        await runtime.start(made, everywhere(made))
        await eventually((stage.root / NAME / "main.0" / handover.END).exists)
        assert not [status for status in watcher.seen if status.phase is Phase.ENDED]
    stage.objects.troubles.clear()
    async with opened(stage) as (runtime, watcher):
        end = await watcher.ended()
        assert ([file.path for file in end.outputs], end.exit_code) == (["a.txt"], 3)


async def test_each_replica_reads_all_of_what_the_role_is_to_read(stage, runtime, watcher):
    stdin = InputFile("", stage.objects.put(b"three\nshort\nlines\n"), 18)
    made = shell("wc -l; ls -A", replicas=2, stdin=stdin)
    await runtime.start(made, everywhere(made))
    for index in (0, 1):
        assert (await watcher.ended(index=index)).succeeded
        assert (await runtime.logs(NAME, "main", index, LogStream.STDOUT)).data == b"3\n"


async def test_a_start_that_was_cut_short_is_finished(stage):
    made = shell("echo once")
    root = Root(stage.root)
    root.prepare()
    root.gang(NAME).create(made, first_units(made, everywhere(made)))
    async with opened(stage) as (runtime, watcher):
        assert (await watcher.ended()).succeeded
        assert await printed(runtime) == b"once\n"


async def test_a_start_that_left_a_folder_only_never_was(stage):
    (stage.root / NAME / "main.0").mkdir(parents=True)
    async with opened(stage) as (runtime, watcher):
        assert await runtime.names() == frozenset()
        end = await run(runtime, watcher, shell("echo once"))
        assert end.succeeded


async def test_a_restart_of_the_machine_is_nobodys_end_but_the_nodes(stage):
    async with opened(stage) as (runtime, watcher):
        made = shell("sleep 1000")
        await runtime.start(made, everywhere(made))
        await watcher.running()
        folder = stage.root / NAME
        supervisor = json.loads((folder / "main.0" / handover.PID).read_text())
    processes.send([supervisor["pid"]], signal.SIGKILL)
    await eventually(lambda: is_gone(supervisor["pid"]))
    for path in (folder / "gang.json", folder / "main.0" / handover.PID):
        path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": "before"}))
    async with opened(stage) as (_, watcher):
        end = await watcher.ended()
        assert end.failure_class is FailureClass.NODE_LOST
        assert end.reason == "the machine was restarted"
        assert end.started_at is not None


async def test_what_never_started_before_a_restart_of_the_machine_does_not_start_after_it(stage):
    made = shell("echo late")
    root = Root(stage.root)
    root.prepare()
    root.gang(NAME).create(made, first_units(made, everywhere(made)))
    path = stage.root / NAME / "gang.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": "before"}))
    async with opened(stage) as (runtime, watcher):
        assert (await watcher.ended()).failure_class is FailureClass.NODE_LOST
        assert await printed(runtime) == b""


async def test_a_stop_that_nobody_was_told_of_is_kept(stage):
    async with opened(stage) as (runtime, watcher):
        made = shell("sleep 1000")
        await runtime.start(made, everywhere(made))
        await watcher.running()
    stop = handover.Stop("asked before the crash", time.time() + 10)
    Root(stage.root).gang(NAME).write_stop(stop)
    async with opened(stage) as (_, watcher):
        end = await watcher.ended()
        assert (end.failure_class, end.reason) == (FailureClass.CANCELLED, "asked before the crash")


async def test_a_folder_that_cannot_be_made_refuses_the_start_and_leaves_nothing(stage, runtime):
    (stage.root / NAME).write_text("in the way")
    made = shell("true")
    with pytest.raises(OSError, match="exists"):
        await runtime.start(made, everywhere(made))
    assert await runtime.names() == frozenset()


async def test_roles_of_a_gang_run_side_by_side(runtime, watcher):
    roles = (
        GangRole("server", (0,), ("sh", "-c", "echo server")),
        GangRole("client", (0, 1), ("sh", "-c", "echo client $GRIDLOOM_REPLICA_INDEX")),
    )
    made = Gang(NAME, "job_a", 1, roles)
    await runtime.start(made, everywhere(made))
    for role, index, text in (
        ("server", 0, b"server\n"),
        ("client", 0, b"client 0\n"),
        ("client", 1, b"client 1\n"),
    ):
        assert (await watcher.ended(index=index, role=role)).succeeded
        assert (await runtime.logs(NAME, role, index, LogStream.STDOUT)).data == text


async def test_the_memory_of_a_replica_is_limited(runtime, watcher):
    script = "import time; x = bytearray(200 << 20); time.sleep(1000)"
    made = gang("python3", "-c", script, resources={"memory": 100 << 20})
    end = await run(runtime, watcher, made)
    assert end.failure_class is FailureClass.OUT_OF_MEMORY
    assert end.peak_memory_bytes > 100 << 20
    assert end.reason.endswith("the limit is 100 MiB")


async def test_a_log_that_is_too_large_is_read_with_a_note_in_its_middle(runtime, watcher):
    script = "import sys\nfor i in range(40000): sys.stdout.write(f'{i:099d}\\n')"
    await run(runtime, watcher, gang("python3", "-c", script))
    data, offset, complete = b"", 0, False
    while not complete:
        chunk = await runtime.logs(NAME, "main", 0, LogStream.STDOUT, offset, limit=1 << 20)
        data, offset, complete = data + chunk.data, chunk.next_offset, chunk.complete
    assert offset == 4_000_000
    assert len(data) < 2 << 20
    assert data.startswith(b"0" * 99)
    assert b"\n[gridloom: " in data
    assert data.endswith(b"39999\n")


async def test_who_follows_a_log_reads_it_as_it_is_written(stage, runtime, watcher):
    made = shell(f"echo one; {UNTIL_GO}; echo two")
    await runtime.start(made, everywhere(made))
    await watcher.running()
    chunks, offset, complete = [], 0, False
    while not complete:
        chunk = await runtime.logs(NAME, "main", 0, LogStream.STDOUT, offset, wait_s=10)
        chunks.append(chunk.data)
        (stage.root / NAME / "main.0" / handover.WORK / "go").touch()
        offset, complete = chunk.next_offset, chunk.complete
    assert b"".join(chunks) == b"one\ntwo\n"
    assert len([data for data in chunks if data]) == 2


async def test_waiting_for_a_silent_command_ends_in_time(runtime, watcher):
    made = shell("sleep 1000")
    await runtime.start(made, everywhere(made))
    await watcher.running()
    chunk = await runtime.logs(NAME, "main", 0, LogStream.STDOUT, wait_s=0.05)
    assert (chunk.data, chunk.complete) == (b"", False)


# Replicas that share a process.

HOST = """
ended=
while :; do
  for i in 0 1 2 3 4 5; do
    case " $(cat $GRIDLOOM_REPLICAS_FILE) " in
      *" $i "*) case " $seen " in *" $i "*) ;; *) seen="$seen $i"; echo "$i";; esac ;;
      *) case " $seen " in *" $i "*) case " $ended " in *" $i "*) ;; *)
           ended="$ended $i"; echo "ended $i 0" > $GRIDLOOM_REPORT_FILE;; esac ;; esac ;;
    esac
  done
  sleep 0.02
done
"""


async def test_a_shared_process_grows_and_shrinks_with_its_role(stage, runtime, watcher):
    made = shell(HOST, replicas=1, colocate=True)
    await runtime.start(made, everywhere(made))
    await watcher.running()
    await runtime.resize(NAME, "main", some(0, 1, 2))
    for index in (1, 2):
        assert (await watcher.running(index=index)).log_index == 0
    log = stage.root / NAME / "main.0" / handover.STDOUT
    await eventually(lambda: set(log.read_text().split()) == {"0", "1", "2"})
    await runtime.resize(NAME, "main", some(0, 2))
    end = await watcher.ended(index=1)
    assert (end.failure_class, end.exit_code) == (FailureClass.CANCELLED, 0)
    await runtime.stop(NAME, 0, "enough")
    ends = [await watcher.ended(index=index) for index in (0, 2)]
    assert [end.reason for end in ends] == ["enough", "enough"]


async def test_a_resize_that_the_process_was_not_told_of_is_kept(stage):
    async with opened(stage) as (runtime, watcher):
        made = shell(HOST, replicas=2, colocate=True)
        await runtime.start(made, everywhere(made))
        await watcher.running()
        log = stage.root / NAME / "main.0" / handover.STDOUT
        await eventually(lambda: set(log.read_text().split()) == {"0", "1"})
    folder = Root(stage.root).gang(NAME)
    units = first_units(made, everywhere(made))
    folder.write_units({"main.0": units["main.0"].want([0])})
    async with opened(stage) as (_, watcher):
        assert (await watcher.ended(index=1)).failure_class is FailureClass.CANCELLED


async def test_a_shared_process_is_resized_before_it_begins(stage, monkeypatch):
    monkeypatch.setattr(local, "_STARTS_AT_ONCE", 0)  # as behind many others
    made = shell(HOST, replicas=1, colocate=True)
    root = Root(stage.root)
    root.prepare()
    root.gang(NAME).create(made, first_units(made, everywhere(made)))
    async with opened(stage) as (runtime, watcher):
        await runtime.resize(NAME, "main", some(0, 1))
        runtime._shop.starting.release()
        await watcher.running(index=1)
        log = stage.root / NAME / "main.0" / handover.STDOUT
        await eventually(lambda: {"0", "1"} <= set(log.read_text().split()))
        await runtime.stop(NAME, 0, "enough")
        await watcher.ended()


async def test_a_gang_whose_replicas_have_all_been_reported_lives_until_its_process_ends(
    runtime, watcher
):
    script = 'echo "ended 0 0" > $GRIDLOOM_REPORT_FILE; sleep 0.3; exit 7'
    made = shell(script, colocate=True)
    await runtime.start(made, everywhere(made))
    end = await watcher.ended()
    assert (end.exit_code, end.failure_class) == (0, FailureClass.NONE)
    assert end.cpu_seconds > 0
    await runtime.forget(NAME)


# Commands beside a replica.


async def lines(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        yield each


async def beside(runtime: Runtime, script: str, *data: bytes) -> list[ExecChunk]:
    command = ("sh", "-c", script)
    return [chunk async for chunk in runtime.exec(NAME, "main", 0, command, lines(*data))]


def text(chunks: list[ExecChunk], stream: LogStream) -> bytes:
    return b"".join(chunk.data for chunk in chunks if chunk.stream is stream)


async def test_a_command_beside_has_the_replicas_folder_and_environment(stage, runtime, watcher):
    made = shell("echo hi > here.txt; sleep 1000", env={"COLOUR": "blue"}, token="secret")
    await runtime.start(made, everywhere(made))
    await watcher.running()
    path = stage.root / NAME / "main.0" / "work" / "here.txt"
    await eventually(path.exists)
    script = "cat here.txt; echo $COLOUR $GRIDLOOM_JOB_ID $GRIDLOOM_TOKEN; echo oops >&2; exit 9"
    chunks = await beside(runtime, script)
    assert text(chunks, LogStream.STDOUT) == b"hi\nblue job_a secret\n"
    assert text(chunks, LogStream.STDERR) == b"oops\n"
    assert chunks[-1].exit_code == 9


async def test_a_command_beside_reads_what_is_sent_to_it(runtime, watcher):
    made = shell("sleep 1000")
    await runtime.start(made, everywhere(made))
    await watcher.running()
    chunks = await beside(runtime, "tr a-z A-Z", b"hello ", b"world")
    assert text(chunks, LogStream.STDOUT) == b"HELLO WORLD"
    assert chunks[-1].exit_code == 0


async def test_a_command_beside_that_is_not_found_exits_as_in_a_shell(runtime, watcher):
    made = shell("sleep 1000")
    await runtime.start(made, everywhere(made))
    await watcher.running()
    chunks = [c async for c in runtime.exec(NAME, "main", 0, ("no-such-thing",), lines())]
    assert text(chunks, LogStream.STDERR) == b"command not found: no-such-thing\n"
    assert chunks[-1].exit_code == 127


async def test_a_command_beside_ends_with_its_replica(runtime, watcher):
    made = shell("sleep 1000")
    await runtime.start(made, everywhere(made))
    await watcher.running()
    running = runtime.exec(NAME, "main", 0, ("sh", "-c", "echo $$; sleep 1000 & wait"), lines())
    pid = int((await anext(running)).data)
    await runtime.stop(NAME, 0, "over")
    rest = [chunk async for chunk in running]
    assert rest[-1].exit_code == 137
    assert is_gone(pid)


async def test_a_command_beside_ends_when_nobody_reads_it_any_more(runtime, watcher):
    made = shell("sleep 1000")
    await runtime.start(made, everywhere(made))
    await watcher.running()
    running = runtime.exec(NAME, "main", 0, ("sh", "-c", "echo $$; sleep 1000"), lines())
    pid = int((await anext(running)).data)
    await running.aclose()
    assert is_gone(pid)
    assert not [status for status in watcher.seen if status.phase is Phase.ENDED]


async def test_a_platform_that_was_told_a_size_says_so(stage):
    stage.settings = LocalSettings(node="big", claim=Claim(cpus=10_000))
    async with opened(stage) as (runtime, _):
        (node,) = await runtime.capacity()
        assert (node.name, node.capacity["cpu"], node.oversubscribed) == ("big", 10_000_000, True)


async def test_nobody_else_may_look_into_a_gangs_folder(stage, runtime, watcher):
    await run(runtime, watcher, shell("true", token="secret"))
    for path in (stage.root / NAME, stage.root / NAME / "main.0"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    for path in (stage.root / NAME).rglob("*.json"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
