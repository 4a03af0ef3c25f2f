"""What every runtime promises: one suite, run on the local one and on its twin in memory.

With E2E_KUBECONFIG it runs on that cluster instead (`tests/support/kubernetes.py`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from gridloom_services.scheduler.runtime.base import (
    Assignment,
    ExecChunk,
    GangActiveError,
    GangNotFoundError,
    LogStream,
    Phase,
    Runtime,
)
from gridloom_services.scheduler.runtime.memory_cluster import Behaviour
from gridloom_services.scheduler.states import FailureClass

from tests.support.runtimes import (
    KUBECONFIG,
    NODE,
    PATIENCE_S,
    LocalStage,
    MemoryStage,
    Stage,
    Watcher,
    clear,
    digest_of,
    everywhere,
    forget_when_over,
    gang,
    opened,
    some,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gridloom_services.scheduler.runtime.base import Gang

NAME = "job_a-a1"
FOREVER = Behaviour(duration_s=None)
DEAF = Behaviour(duration_s=None, stop_after_s=None, stdout=b"deaf")


def local_stage(tmp_path: Path) -> Stage:
    return LocalStage(tmp_path / "gangs")


def memory_stage(tmp_path: Path) -> Stage:
    del tmp_path
    return MemoryStage()


def kubernetes_stage(tmp_path: Path) -> Stage:
    from tests.support.kubernetes import KubernetesStage

    return KubernetesStage(tmp_path)


STAGES = [kubernetes_stage] if KUBECONFIG else [local_stage, memory_stage]


@pytest.fixture(params=STAGES, ids=lambda stage: stage.__name__.removesuffix("_stage"))
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    made = request.param(tmp_path)
    await made.prepare()
    yield made
    await clear(made)


@pytest.fixture
async def open_runtime(stage: Stage) -> AsyncIterator[tuple[Runtime, Watcher]]:
    async with opened(stage) as pair:
        yield pair


@pytest.fixture
def runtime(open_runtime: tuple[Runtime, Watcher]) -> Runtime:
    return open_runtime[0]


@pytest.fixture
def watcher(open_runtime: tuple[Runtime, Watcher]) -> Watcher:
    return open_runtime[1]


async def start(runtime: Runtime, made: Gang) -> None:
    await runtime.start(made, everywhere(made))


async def nothing() -> AsyncIterator[bytes]:
    for data in ():
        yield data


async def output(runtime: Runtime, stream: LogStream = LogStream.STDOUT, name: str = NAME) -> bytes:
    return (await runtime.logs(name, "main", 0, stream, wait_s=5)).data


async def until_printed(runtime: Runtime, text: bytes) -> None:
    """Wait for what a command prints once it is ready for the worst."""
    async with asyncio.timeout(PATIENCE_S):
        while await output(runtime) != text:
            pass


async def test_a_replica_starts_runs_and_ends_with_its_own_exit_code(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(Behaviour(duration_s=0.1, exit_code=7))))
    end = await watcher.ended()
    phases = [status.phase for status in watcher.seen]
    assert phases == [Phase.STARTING, Phase.RUNNING, Phase.ENDED]
    assert (end.exit_code, end.signal) == (7, 0)
    assert end.failure_class is FailureClass.APPLICATION_ERROR
    assert end.reason == "exit code 7"
    assert end.started_at is not None
    assert end.ended_at is not None
    assert end.started_at <= end.ended_at
    assert end.node == NODE


async def test_exit_code_zero_is_a_success(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(Behaviour())))
    end = await watcher.ended()
    assert end.succeeded
    assert (end.exit_code, end.failure_class, end.reason) == (0, FailureClass.NONE, "")


async def test_a_replica_that_a_signal_ended_names_it(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(Behaviour(signal=6))))
    end = await watcher.ended()
    assert (end.exit_code, end.signal) == (134, 6)
    assert end.failure_class is FailureClass.APPLICATION_ERROR


async def test_every_replica_of_a_gang_is_told_of(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(Behaviour()), replicas=3))
    ends = [await watcher.ended(index=index) for index in range(3)]
    assert [end.index for end in ends] == [0, 1, 2]
    assert [end.log_index for end in ends] == [0, 1, 2]


async def test_starting_twice_starts_once(stage, runtime, watcher):
    made = gang(*stage.acts(Behaviour(duration_s=0.1, stdout=b"once ")))
    await asyncio.gather(start(runtime, made), start(runtime, made))
    await watcher.ended()
    await start(runtime, made)
    assert await output(runtime) == b"once "
    assert [status.phase for status in watcher.seen].count(Phase.ENDED) == 1


async def test_a_placement_on_what_does_not_exist_is_refused(stage, runtime):
    made = gang(*stage.acts(Behaviour()))
    with pytest.raises(ValueError, match="nowhere"):
        await runtime.start(made, (Assignment("main", 0, "nowhere"),))
    with pytest.raises(ValueError, match="chef"):
        await runtime.start(made, (Assignment("chef", 0, NODE),))
    assert await runtime.names() == frozenset()


async def test_names_are_those_of_gangs_that_are_not_forgotten(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(FOREVER), name="job_a-a1"))
    await start(runtime, gang(*stage.acts(Behaviour()), name="job_b-a1"))
    await watcher.ended("job_b-a1")
    assert await runtime.names() == {"job_a-a1", "job_b-a1"}
    await runtime.forget("job_b-a1")
    assert await runtime.names() == {"job_a-a1"}


async def test_stopping_ends_a_replica_that_listens_at_once(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(FOREVER)))
    await watcher.running()
    await runtime.stop(NAME, 30, "somebody asked")
    end = await watcher.ended()
    assert end.failure_class is FailureClass.CANCELLED
    assert (end.exit_code, end.signal, end.reason) == (143, 15, "somebody asked")


async def test_stopping_kills_a_replica_that_does_not_listen_after_the_grace(
    stage, runtime, watcher
):
    await start(runtime, gang(*stage.acts(DEAF)))
    await watcher.running()
    await until_printed(runtime, b"deaf")
    await runtime.stop(NAME, 0.2, "enough")
    end = await watcher.ended()
    assert (end.signal, end.failure_class) == (9, FailureClass.CANCELLED)


async def test_a_later_stop_shortens_the_grace_and_keeps_the_first_reason(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(DEAF)))
    await watcher.running()
    await until_printed(runtime, b"deaf")
    await runtime.stop(NAME, 600, "first")
    await runtime.stop(NAME, 0, "second")
    end = await watcher.ended()
    assert (end.signal, end.reason) == (9, "first")


async def test_a_gang_that_is_stopped_while_it_starts_ends_as_cancelled(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(FOREVER)))
    await runtime.stop(NAME, 0, "changed my mind")
    end = await watcher.ended()
    assert end.failure_class is FailureClass.CANCELLED
    assert end.reason == "changed my mind"


async def test_stopping_an_ended_gang_changes_nothing(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(Behaviour(exit_code=3))))
    before = await watcher.ended()
    await runtime.stop(NAME, 0, "too late")
    await start(runtime, gang(*stage.acts(Behaviour()), name="job_b-a1"))
    await watcher.ended("job_b-a1")
    assert await watcher.ended() == before


async def test_what_is_unknown_is_refused(stage, runtime):
    del stage
    for call in (
        runtime.stop("job_x-a1", 0, "why"),
        runtime.resize("job_x-a1", "main", ()),
        runtime.logs("job_x-a1", "main", 0, LogStream.STDOUT),
    ):
        with pytest.raises(GangNotFoundError):
            await call


async def test_the_time_limit_ends_a_replica(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(FOREVER), time_limit_s=0.2))
    end = await watcher.ended()
    assert end.failure_class is FailureClass.TIME_LIMIT
    assert end.reason == "the time limit of 0.2 s"


async def test_growth_starts_new_replicas_and_leaves_the_others(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(FOREVER)))
    first = await watcher.running()
    await runtime.resize(NAME, "main", some(0, 1, 2))
    await watcher.running(index=1)
    await watcher.running(index=2)
    assert [status for status in watcher.seen if status.index == 0][-1] == first


async def test_shrinking_ends_what_is_left_out_as_cancelled(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(FOREVER), replicas=3))
    for index in range(3):
        await watcher.running(index=index)
    await runtime.resize(NAME, "main", some(1))
    ends = [await watcher.ended(index=index) for index in (0, 2)]
    assert {end.failure_class for end in ends} == {FailureClass.CANCELLED}
    await runtime.resize(NAME, "main", some(1))
    assert not [s for s in watcher.seen if s.index == 1 and s.phase is Phase.ENDED]


async def test_an_index_that_has_ended_is_not_started_again(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(FOREVER), replicas=2))
    await watcher.running(index=1)
    await runtime.resize(NAME, "main", some(0))
    end = await watcher.ended(index=1)
    await runtime.resize(NAME, "main", some(0, 1, 2))
    await watcher.running(index=2)
    assert [status for status in watcher.seen if status.index == 1][-1] == end


async def test_growth_of_a_gang_that_is_over_is_reported_as_ended_and_not_started(
    stage, runtime, watcher
):
    await start(runtime, gang(*stage.acts(Behaviour())))
    await watcher.ended()
    await runtime.resize(NAME, "main", some(0, 1))
    end = await watcher.ended(index=1)
    assert (end.failure_class, end.started_at, end.ended_at) == (FailureClass.CANCELLED, None, None)
    await runtime.forget(NAME)
    assert [status.index for status in watcher.seen if status.phase is Phase.STARTING] == [0]


async def test_growth_of_a_gang_that_is_to_end_ends_with_it(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(FOREVER)))
    await runtime.stop(NAME, 5.0, "not needed")
    await runtime.resize(NAME, "main", some(0, 1))
    ends = [await watcher.ended(index=index) for index in (0, 1)]
    assert {end.failure_class for end in ends} == {FailureClass.CANCELLED}


async def test_replicas_that_share_a_process_share_its_end_and_its_logs(stage, runtime, watcher):
    acts = stage.acts(Behaviour(duration_s=0.1, exit_code=4, stdout=b"all of us"))
    await start(runtime, gang(*acts, replicas=3, colocate=True))
    ends = [await watcher.ended(index=index) for index in range(3)]
    assert [end.exit_code for end in ends] == [4, 4, 4]
    assert [end.log_index for end in ends] == [0, 0, 0]


async def test_a_gang_that_lives_cannot_be_forgotten(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(FOREVER)))
    await watcher.running()
    with pytest.raises(GangActiveError):
        await runtime.forget(NAME)
    await runtime.stop(NAME, 0, "over")
    await forget_when_over(runtime, NAME)
    with pytest.raises(GangNotFoundError):
        await runtime.logs(NAME, "main", 0, LogStream.STDOUT)
    await runtime.forget(NAME)


async def test_who_watches_late_sees_the_present_first(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(FOREVER), name="job_a-a1"))
    await start(runtime, gang(*stage.acts(Behaviour()), name="job_b-a1"))
    await watcher.running("job_a-a1")
    await watcher.ended("job_b-a1")
    late = Watcher(runtime)
    await late.ended("job_b-a1")
    await late.running("job_a-a1")
    assert len(late.seen) == 2
    await late.close()


async def test_a_reader_that_lags_sees_the_newest_only(stage, runtime, watcher):
    slow = runtime.watch()
    await start(runtime, gang(*stage.acts(Behaviour()), name="job_a-a1"))
    first = await anext(slow)
    await start(runtime, gang(*stage.acts(Behaviour()), name="job_b-a1"))
    await watcher.ended("job_a-a1")
    await watcher.ended("job_b-a1")
    rest = [await anext(slow) for _ in range(1 if first.phase is Phase.ENDED else 2)]
    assert {status.phase for status in rest} == {Phase.ENDED}


async def test_closing_ends_those_who_watch(stage):
    runtime = stage.make()
    await runtime.open()
    statuses = asyncio.create_task(_all(runtime))
    await asyncio.sleep(0)
    await runtime.close()
    assert await statuses == []


async def _all(runtime: Runtime) -> list[object]:
    return [status async for status in runtime.watch()]


async def test_both_streams_are_kept_apart(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(Behaviour(stdout=b"to out", stderr=b"to err"))))
    await watcher.ended()
    assert await output(runtime) == b"to out"
    assert await output(runtime, LogStream.STDERR) == b"to err"


async def test_logs_are_read_piece_by_piece_and_from_the_end(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(Behaviour(stdout=b"0123456789"))))
    await watcher.ended()
    first = await runtime.logs(NAME, "main", 0, LogStream.STDOUT, 2, limit=5)
    assert (first.data, first.offset, first.next_offset, first.complete) == (b"23456", 2, 7, False)
    rest = await runtime.logs(NAME, "main", 0, LogStream.STDOUT, first.next_offset)
    assert (rest.data, rest.next_offset, rest.complete) == (b"789", 10, True)
    tail = await runtime.logs(NAME, "main", 0, LogStream.STDOUT, -4)
    assert (tail.data, tail.offset) == (b"6789", 6)
    beyond = await runtime.logs(NAME, "main", 0, LogStream.STDOUT, 10)
    assert (beyond.data, beyond.complete) == (b"", True)


async def test_logs_of_what_runs_are_there_and_not_complete(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(Behaviour(duration_s=None, stdout=b"hello"))))
    await watcher.running()
    chunk = await runtime.logs(NAME, "main", 0, LogStream.STDOUT, wait_s=5)
    assert (chunk.data, chunk.complete) == (b"hello", False)


async def test_logs_outlive_the_gang_where_they_are_kept(stage, runtime, watcher, tmp_path):
    await start(runtime, gang(*stage.acts(Behaviour(stdout=b"to out")), replicas=2))
    await watcher.ended(index=0)
    await watcher.ended(index=1)
    kept = tmp_path / "kept"
    kept.mkdir()
    await runtime.keep_logs(NAME, kept)
    stored = await runtime.keep_logs(NAME, kept)
    await runtime.forget(NAME)
    files = {path.name: path.read_bytes() for path in kept.iterdir()}
    assert files | {name: stage.content(each.digest) for name, each in stored.items()} == {
        "main.0.stdout": b"to out",
        "main.1.stdout": b"to out",
    }


async def test_outputs_come_back_by_digest(stage, runtime, watcher):
    acts = stage.acts(Behaviour(), files={"result.txt": b"forty-two"})
    await start(runtime, gang(*acts, outputs=("*.txt",)))
    (file,) = (await watcher.ended()).outputs
    assert (file.path, file.digest, file.size_bytes) == ("result.txt", digest_of(b"forty-two"), 9)


async def test_another_runtime_finds_what_runs_and_carries_on(stage):
    async with opened(stage) as (runtime, watcher):
        acts = stage.acts(Behaviour(duration_s=None, stdout=b"once "))
        await start(runtime, gang(*acts))
        before = await watcher.running()
        await until_printed(runtime, b"once ")
    async with opened(stage) as (runtime, watcher):
        assert await runtime.names() == {NAME}
        await start(runtime, gang(*acts))
        assert await watcher.running() == before
        await runtime.stop(NAME, 30, "seen enough")
        assert (await watcher.ended()).exit_code == 143
        assert await output(runtime) == b"once "


async def test_another_runtime_learns_what_ended_while_nobody_listened(stage):
    async with opened(stage) as (runtime, watcher):
        await start(runtime, gang(*stage.acts(Behaviour(duration_s=0.1, exit_code=6))))
        await watcher.running()
    await stage.until_over(NAME)
    async with opened(stage) as (runtime, watcher):
        assert (await watcher.ended()).exit_code == 6
        assert watcher.seen[0].phase is Phase.ENDED


async def test_another_runtime_can_stop_what_it_found(stage):
    async with opened(stage) as (runtime, watcher):
        await start(runtime, gang(*stage.acts(FOREVER)))
        await watcher.running()
    async with opened(stage) as (runtime, watcher):
        await runtime.stop(NAME, 30, "found and stopped")
        assert (await watcher.ended()).reason == "found and stopped"


async def test_what_another_runtime_forgot_stays_forgotten(stage):
    async with opened(stage) as (runtime, watcher):
        await start(runtime, gang(*stage.acts(Behaviour())))
        await watcher.ended()
        await runtime.forget(NAME)
    async with opened(stage) as (runtime, watcher):
        assert await runtime.names() == frozenset()
        assert watcher.seen == []


async def test_a_command_beside_a_replica_ends_with_an_exit_code(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(FOREVER)))
    await watcher.running()
    beside = runtime.exec(NAME, "main", 0, ("echo", "beside"), nothing())
    chunks = [chunk async for chunk in beside]
    assert b"beside" in b"".join(chunk.data for chunk in chunks)
    assert chunks[-1] == ExecChunk(exit_code=0)
    assert [chunk.exit_code for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


async def test_there_is_no_command_beside_a_replica_that_is_over(stage, runtime, watcher):
    await start(runtime, gang(*stage.acts(Behaviour())))
    await watcher.ended()
    with pytest.raises(GangNotFoundError):
        await anext(runtime.exec(NAME, "main", 0, ("true",), nothing()))


async def test_capacity_names_the_nodes(stage, runtime):
    del stage
    (node,) = [each for each in await runtime.capacity() if each.name == NODE]
    assert node.capacity["cpu"] >= 1000
    assert node.capacity["memory"] > 0
