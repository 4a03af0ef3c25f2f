"""Kill the platform, the keeper, supervisors at any moment: a gang has one end, the right one.

Each seed is a test of its own; CRASH_SEEDS="7 8 9" runs others.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gridloom.worker.supervision import handover, processes
from gridloom.worker.supervision.records import read_record
from gridloom_services.scheduler.states import FailureClass

from tests.support.eventually import eventually, eventually_now
from tests.support.local_platform import Ledger
from tests.support.runtimes import LocalStage, clear, everywhere, gang, opened
from tests.support.supervised import UNTIL_GO, is_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = Path(__file__).resolve().parents[2]
SEEDS = [int(seed) for seed in os.environ.get("CRASH_SEEDS", "1").split()]
GANGS = 24
KILLS = 8
# A tree of every kind of child: in the group, in a session of its own, without the environment, and
# one whose parents have all gone.
TREE = """
sleep 1000 &
setsid sleep 1000 &
env -i setsid sleep 1000 &
(setsid sh -c 'env -i sleep 1000 & sleep 0.01' &)
sleep 0.1
echo ready
sleep 1000
"""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[LocalStage]:
    made = LocalStage(tmp_path / "gangs")
    yield made
    await clear(made)


def living_below(pid: int) -> set[int]:
    return {each for each in processes.descendants(pid) if not is_gone(each)}


def sleepers_below(pid: int) -> list[int]:
    """Of the tree's processes those that have become what they are to be."""
    started = b"sleep\x001000"
    return [p for p in living_below(pid) if processes.read_proc(f"{p}/cmdline").startswith(started)]


def supervisor_of(stage: LocalStage) -> int:
    record = json.loads((stage.root / "job_a-a1" / "main.0" / "pid").read_text())
    return int(record["pid"])


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


async def tree_of_processes(stage: LocalStage, runtime, watcher) -> tuple[int, set[int]]:
    """The pid of a supervisor, and everything that its command has started."""
    made = gang("sh", "-c", TREE)
    await runtime.start(made, everywhere(made))
    await watcher.running()
    path = stage.root / "job_a-a1" / "main.0" / "stdout"
    await eventually(lambda: path.read_text() == "ready\n")
    supervisor = supervisor_of(stage)
    await eventually(lambda: len(sleepers_below(supervisor)) == 5)
    return supervisor, living_below(supervisor)


async def test_nothing_outlives_a_supervisor_that_is_killed(stage):
    async with opened(stage) as (runtime, watcher):
        supervisor, tree = await tree_of_processes(stage, runtime, watcher)
        os.kill(supervisor, signal.SIGKILL)
        end = await watcher.ended()
        assert (end.failure_class, end.exit_code) == (FailureClass.NODE_LOST, None)
        assert end.reason == "its supervisor died"
        assert end.started_at is not None
        await eventually(lambda: all(map(is_gone, tree)))


async def test_a_killed_keeper_costs_nothing(stage):
    async with opened(stage) as (runtime, watcher):
        first = gang("sh", "-c", f"{UNTIL_GO}; exit 4", name="job_a-a1")
        await runtime.start(first, everywhere(first))
        await watcher.running("job_a-a1")
        os.kill(parent_of(supervisor_of(stage)), signal.SIGKILL)
        second = gang("sh", "-c", "exit 5", name="job_b-a1")
        await runtime.start(second, everywhere(second))
        (stage.root / "job_a-a1" / "main.0" / "work" / "go").touch()
        assert (await watcher.ended("job_a-a1")).exit_code == 4
        assert (await watcher.ended("job_b-a1")).exit_code == 5


async def test_without_keeper_and_supervisor_the_runtime_itself_ends_what_is_left(stage):
    async with opened(stage) as (runtime, watcher):
        supervisor, tree = await tree_of_processes(stage, runtime, watcher)
        # What has neither the mark nor a living marked parent cannot be found without the keeper.
        marked = {pid for pid in tree if b"GRIDLOOM_" in processes.read_proc(f"{pid}/environ")}
        assert len(marked) >= 4
        os.kill(parent_of(supervisor), signal.SIGKILL)
        os.kill(supervisor, signal.SIGKILL)
        assert (await watcher.ended()).failure_class is FailureClass.NODE_LOST
        await eventually(lambda: all(map(is_gone, marked)))
        processes.send(tree, signal.SIGKILL)


async def test_a_supervisor_that_was_killed_while_nobody_listened_is_found(stage):
    async with opened(stage) as (runtime, watcher):
        supervisor, tree = await tree_of_processes(stage, runtime, watcher)
    os.kill(supervisor, signal.SIGKILL)
    await eventually(lambda: all(map(is_gone, tree)))
    async with opened(stage) as (_, watcher):
        assert (await watcher.ended()).failure_class is FailureClass.NODE_LOST


def write_plan(folder: Path, dice: random.Random) -> dict[str, dict[str, object]]:
    """Gangs that say that they ran, last a while, and end with a code of their own."""
    plan: dict[str, dict[str, object]] = {}
    (folder / "ran").mkdir()
    for number in range(GANGS):
        name = f"job_{number}-a1"
        stop = dice.random() < 0.25
        last = 1000 if stop else dice.uniform(0, 1.0)
        script = f"echo x >> {folder}/ran/{name}; sleep {last} & wait; exit {number}"
        command, pause_s = ["sh", "-c", script], dice.uniform(0, 0.03)
        plan[name] = {"command": command, "pause_s": pause_s, "stop": stop, "code": number}
    (folder / "plan.json").write_text(json.dumps(plan))
    return plan


def platform(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.support.local_platform", str(folder)]
    with (folder / "platform.log").open("ab") as log:
        started = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=log)
    assert started.stdout is not None
    assert started.stdout.readline() == b"open\n"
    started.stdout.close()
    return started


def keepers(folder: Path) -> set[int]:
    """Living keepers that work on this folder; what they fork has their name at first."""
    mark = f"GRIDLOOM_TEST={folder}".encode()
    named = {
        pid
        for pid in processes.every_pid()
        if processes.read_proc(f"{pid}/comm") == b"gl-keeper\n"
        and mark in processes.read_proc(f"{pid}/environ").split(b"\0")
    }
    return named.difference(*(processes.descendants(pid) for pid in named))


def supervisors(folder: Path) -> set[int]:
    """Living supervisors below this folder."""
    root = folder / "gangs"
    gangs = root.iterdir() if root.exists() else ()  # the platform may not have come so far
    records = [read_record(path / "main.0" / handover.PID) for path in gangs]
    claims = [handover.Identity(**record) for record in records if record]
    return {claim.pid for claim in claims if processes.is_alive(claim)}


def left_over(folder: Path) -> set[int]:
    """Living commands below this folder."""
    mark = f"GRIDLOOM_WORKDIR={folder}".encode()
    return {
        pid
        for pid in processes.every_pid()
        if mark in processes.read_proc(f"{pid}/environ") and not is_gone(pid)
    }


def kill_one(pids: set[int], dice: random.Random) -> bool:
    if pids:
        processes.send([dice.choice(sorted(pids))], signal.SIGKILL)
    return bool(pids)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_killed_when_each_gang_has_one_end(tmp_path, monkeypatch, seed):
    monkeypatch.setenv("GRIDLOOM_TEST", str(tmp_path))
    dice = random.Random(seed)
    plan = write_plan(tmp_path, dice)
    lost = 0
    for _ in range(KILLS):
        running = platform(tmp_path)
        time.sleep(dice.uniform(0, 0.3))
        victim = dice.choice(["the platform alone", "the keeper", "a supervisor"])
        if victim == "the keeper":
            kill_one(keepers(tmp_path), dice)
        if victim == "a supervisor":
            lost += kill_one(supervisors(tmp_path), dice)
        running.kill()
        running.wait()
    last = platform(tmp_path)
    try:
        assert last.wait(60) == 0, (tmp_path / "platform.log").read_text()
        check(tmp_path, plan, lost, f"seed {seed}")
    finally:
        last.kill()
        last.wait()
        processes.send(supervisors(tmp_path), signal.SIGTERM)


def check(folder: Path, plan: dict[str, dict[str, object]], lost: int, what: str) -> None:
    """One end a gang, the right one, from one run; nothing is left of it."""
    ends = Ledger(folder / "ends.log").read()
    assert Counter(end.name for end in ends) == dict.fromkeys(plan, 1), what
    for end in ends:
        wanted = plan[end.name]
        ran = folder / "ran" / end.name
        times = ran.read_text() if ran.exists() else ""
        assert times in {"", "x\n"}, f"{what}: {end.name} ran twice"
        if end.failure == "NODE_LOST":
            lost -= 1
        elif wanted["stop"]:
            assert end.failure == "CANCELLED", f"{what}: {end}"
        else:
            assert end.exit_code == wanted["code"], f"{what}: {end}"
            assert times, f"{what}: {end}"
    assert lost >= 0, f"{what}: more gangs are lost than supervisors were killed"
    eventually_now(lambda: not left_over(folder))
    assert [path.name for path in (folder / "gangs").iterdir() if path.is_dir()] == [], what
