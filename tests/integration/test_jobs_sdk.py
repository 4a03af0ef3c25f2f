"""Jobs by the SDK on the real embedded platform: as a program has them, and on bad days."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom import Retries, Role, aio, errors
from gridloom.home import EmbeddedPlatform, StartOptions
from gridloom.jobs.states import JobState

from tests.support.eventually import eventually_now
from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gridloom.client import Client


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("sdk") / "home")
    EmbeddedPlatform(home.path, StartOptions(cpus=16)).start()
    yield home
    home.close()


@pytest.fixture
def client(home: Home) -> Iterator[Client]:
    with gridloom.connect(home=home.path) as client:
        yield client


def in_new_process(home: Home, program: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, *words],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestJobs:
    def test_a_command_runs_and_answers(self, client: Client):
        job = client.run(["sh", "-c", "echo one; echo two >&2"], cpus=0.5, memory="64MiB")
        result = job.result(timeout="1m")
        assert result.exit_code == 0
        assert sorted(job.logs()) == ["one", "two"]
        assert list(job.logs(stream="stderr")) == ["two"]
        assert job.state is JobState.SUCCEEDED
        assert [event.to_state for event in job.events()][-1] is JobState.SUCCEEDED

    def test_a_failure_is_raised_with_its_code_and_last_lines(self, client: Client):
        job = client.run("for i in 1 2 3; do echo step $i; done; exit 4", shell=True)
        with pytest.raises(errors.JobFailedError) as failure:
            job.result()
        assert failure.value.exit_code == 4
        assert failure.value.log_tail == "step 1\nstep 2\nstep 3"
        assert failure.value.job_id == job.id

    @pytest.mark.parametrize(
        ("script", "options", "kind"),
        [
            ("kill -9 $$", {}, errors.JobFailedError),
            ("sleep 60", {"time_limit": 1}, errors.TimeLimitError),
            (
                "python3 -c 'x = bytearray(300 << 20); import time; time.sleep(60)'",
                {"memory": "100MiB"},
                errors.OutOfMemoryError,
            ),
        ],
    )
    def test_each_class_of_failure_is_an_error_of_its_own(
        self, client: Client, script: str, options: dict[str, object], kind: type[errors.JobError]
    ):
        job = client.run(script, shell=True, **options)  # type: ignore[arg-type]
        with pytest.raises(kind):
            job.result(timeout=60)

    def test_files_go_there_and_outputs_come_back(self, client: Client, tmp_path: Path):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "a.txt").write_text("alpha")
        job = client.run(
            "cat data/a.txt note > out/sum.txt",
            shell=True,
            files={"data": tmp_path / "data", "note": b" beta", "out/.keep": b""},
            outputs=["out/*.txt"],
        )
        job.result()
        assert list(job.outputs) == ["out/sum.txt"]
        assert job.outputs["sum.txt"].read_text() == "alpha beta"
        assert job.outputs["sum.txt"].save(tmp_path).read_text() == "alpha beta"
        with pytest.raises(KeyError):
            job.outputs["other"]

    def test_an_array_has_elements(self, client: Client):
        job = client.run(["sh", "-c", "echo {index}; test {index} != 4"], array=range(0, 6, 2))
        with pytest.raises(errors.JobFailedError, match="1 of 3 elements"):
            job.result()
        assert [element.state.value for element in job.elements()] == [
            "SUCCEEDED",
            "SUCCEEDED",
            "FAILED",
        ]
        assert list(job.element(2).logs()) == ["2"]
        assert job.element(0).result().exit_code == 0
        with pytest.raises(errors.NotFoundError):
            job.element(1).refresh()

    def test_a_gang_starts_together_and_each_role_has_its_logs(self, client: Client):
        say = "echo $GRIDLOOM_ROLE $GRIDLOOM_REPLICA_INDEX"
        roles = [
            Role("chief", say, shell=True, cpus=1),
            Role("worker", say, shell=True, replicas=2, cpus=0.5),
        ]
        job = client.run(roles=roles)
        job.result()
        assert sorted(job.logs()) == ["chief 0", "worker 0", "worker 1"]
        assert list(job.logs(role="worker", index=1)) == ["worker 1"]

    def test_dependencies_are_handles(self, client: Client):
        first = client.run(["true"], hold=True)
        after = client.run(["true"], after=[first])
        never = client.run(["true"], after_failure=first)
        assert after.explain().reason is gridloom.PendingReason.DEPENDENCY
        first.release()
        client.wait([first, after, never], timeout="1m")
        assert [job.state.value for job in (first, after, never)] == [
            "SUCCEEDED",
            "SUCCEEDED",
            "CANCELLED",
        ]

    def test_retries_are_by_failure_class(self, client: Client, tmp_path: Path):
        script = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) = 3"
        job = client.run(script, shell=True, retries=Retries(error=3, backoff="10ms"))
        job.result(timeout="1m")
        assert job.info.attempt == 3

    def test_the_same_request_is_accepted_once(self, client: Client):
        first = client.run(["true"], request_id="once-and-only")
        assert client.run(["true"], request_id="once-and-only") == first

    def test_a_batch_is_accepted_whole_or_not_at_all(self, client: Client):
        jobs = client.run_many([{"command": ["true"], "labels": {"batch": "x"}}] * 3)
        assert len(set(jobs)) == 3
        with pytest.raises(errors.InvalidRequestError):
            client.run_many(
                [
                    {"command": ["true"], "labels": {"batch": "y"}},
                    {"command": ["true"], "queue": "q"},
                ]
            )
        assert len(list(client.jobs(labels={"batch": "x"}))) == 3
        assert not list(client.jobs(labels="batch=y"))

    def test_a_check_accepts_nothing(self, client: Client):
        before = [job.id for job in client.jobs(limit=1)]
        assert client.run(["true"], validate_only=True).id == ""
        with pytest.raises(errors.InvalidRequestError):
            client.run(["true"], cpus=1000, validate_only=True)
        assert [job.id for job in client.jobs(limit=1)] == before

    def test_a_gang_larger_than_the_cluster_is_refused_naming_what_exists(self, client: Client):
        with pytest.raises(errors.InvalidRequestError, match="16"):
            client.run(["true"], cpus=4, replicas=5)

    def test_a_deadline_and_a_start_to_come(self, client: Client):
        soon = datetime.now(UTC) + timedelta(hours=1)
        job = client.run(["true"], start_after=soon)
        assert job.explain().reason is gridloom.PendingReason.START_AFTER
        job.cancel()
        with pytest.raises(errors.CancelledError):
            job.result(timeout=30)
        late = client.run(["sleep", "60"], deadline=datetime.now(UTC) + timedelta(seconds=1))
        with pytest.raises(errors.JobError):
            late.result(timeout=60)

    def test_logs_are_followed_while_they_are_written(self, client: Client, tmp_path: Path):
        gate = tmp_path / "gate"
        job = client.run(f"echo a; while ! test -e {gate}; do sleep 0.02; done; echo b", shell=True)
        lines = job.logs(follow=True)
        assert next(lines) == "a"
        gate.touch()
        assert list(lines) == ["b"]
        assert list(job.logs(tail=1)) == ["b"]

    def test_changes_are_watched(self, client: Client):
        job = client.run(["true"], labels={"watched": "1"})
        seen = []
        for change in client.watch(labels={"watched": "1"}):
            seen.append(change)
            if change.job.state.is_final:
                break
        assert seen[-1].job.id == job.id
        revision = seen[0].revision
        again = list(islice(client.watch(from_revision=revision, ids=[job]), 1))
        assert again[0].revision > revision

    def test_a_command_beside_a_running_one(self, client: Client):
        job = client.run("echo here > file; sleep 300", shell=True)
        eventually_now(lambda: job.state is JobState.RUNNING)
        eventually_now(lambda: job.exec(["test", "-s", "file"]).exit_code == 0)
        done = job.exec(["cat", "file", "-"], stdin=b"and there")
        assert (done.exit_code, done.stdout) == (0, b"here\nand there")
        job.cancel(grace="0s")
        assert job.wait(timeout=60) is JobState.CANCELLED


class TestFaces:
    async def test_the_asyncio_face_does_the_same(self, home: Home, tmp_path: Path):
        async with await aio.connect(home=home.path) as client:
            job = await client.run("echo 1; echo 2 > out", shell=True, outputs="out")
            result = await job.result(timeout="1m")
            assert result.exit_code == 0
            assert [line async for line in job.logs()] == ["1"]
            outputs = await job.outputs
            assert (await outputs["out"].save(tmp_path)).read_text() == "2\n"
            jobs = await asyncio.gather(*(client.run(["true"]) for _ in range(20)))
            assert len(await client.wait(jobs, timeout="2m")) == 20
            bad = await client.run(["false"])
            with pytest.raises(errors.JobFailedError):
                await bad.result()

    async def test_the_synchronous_face_works_in_a_running_loop(self, client: Client):
        assert client.run(["true"]).result(timeout="1m").exit_code == 0

    def test_one_client_serves_many_threads(self, client: Client):
        with ThreadPoolExecutor(8) as threads:
            jobs = list(threads.map(lambda n: client.run(["sh", "-c", f"exit {n}"]), range(8)))
        client.wait(jobs, timeout="1m")
        assert [job.info.exit_code for job in jobs] == list(range(8))


class TestElsewhere:
    def test_another_process_opens_the_same_job_after_the_first_died(self, home: Home):
        begin = (
            "import gridloom, os\n"
            "client = gridloom.connect()\n"
            "job = client.run('echo kept; exit 3', shell=True)\n"
            "print(job.id, flush=True)\n"
            "os._exit(0)\n"
        )
        job_id = in_new_process(home, begin).strip()
        attach = (
            "import gridloom, sys\n"
            "job = gridloom.connect().get(sys.argv[1])\n"
            "try: job.result()\n"
            "except gridloom.errors.JobFailedError as e: print(e.exit_code, e.log_tail)\n"
        )
        assert in_new_process(home, attach, job_id) == "3 kept\n"

    def test_a_pickled_handle_works_where_it_is_opened(self, home: Home, client: Client):
        pickled = pickle.dumps(client.run(["true"])).hex()
        program = (
            "import pickle, sys\n"
            "job = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
            "print(job.result().exit_code)\n"
        )
        assert in_new_process(home, program, pickled) == "0\n"

    def test_a_forked_child_uses_its_parents_handles(self, home: Home):
        program = (
            "import gridloom, os, sys\n"
            "client = gridloom.connect()\n"
            "job = client.run(['true'])\n"
            "job.wait()\n"
            "child = os.fork()\n"
            "who = 'child' if child == 0 else 'parent'\n"
            "codes = job.result().exit_code, client.run(['true']).result().exit_code\n"
            "os.write(1, f'{who} {codes}\\n'.encode())\n"
            "if child == 0: os._exit(0)\n"
            "assert os.waitpid(child, 0)[1] == 0\n"
        )
        said = in_new_process(home, program).splitlines()
        assert sorted(said) == ["child (0, 0)", "parent (0, 0)"]

    def test_inside_a_job_its_own_platform_is_meant(self, client: Client):
        program = (
            "import gridloom, os\n"
            "client = gridloom.connect()\n"
            "me = client.get(os.environ['GRIDLOOM_JOB_ID'])\n"
            "print(me.id, me.state)\n"
        )
        job = client.run([sys.executable, "-c", program])
        job.result(timeout="1m")
        assert list(job.logs()) == [f"{job.id} RUNNING"]


class TestBadDays:
    @pytest.fixture
    def home(self, tmp_path: Path) -> Iterator[Home]:
        home = Home(tmp_path / "home")
        yield home
        home.close()

    def test_of_clients_that_start_at_once_one_starts_the_platform(self, home: Home):
        program = "import gridloom; print(gridloom.connect().connection.endpoint().address)"
        with ThreadPoolExecutor(3) as threads:
            said = list(threads.map(lambda _: in_new_process(home, program), range(3)))
        assert len(set(said)) == 1

    def test_a_wait_outlives_the_platform_that_is_killed(self, home: Home, tmp_path: Path):
        gate = tmp_path / "gate"
        with gridloom.connect(home=home.path) as client:
            job = client.run(
                f"echo a; while ! test -e {gate}; do sleep 0.02; done; echo b; exit 7", shell=True
            )
            lines = job.logs(follow=True)
            assert next(lines) == "a"
            first = home.platform.record()
            assert first is not None
            os.kill(first.pid, signal.SIGKILL)
            opener = threading.Timer(1.0, gate.touch)
            opener.start()
            assert list(lines) == ["b"]
            with pytest.raises(errors.JobFailedError, match="exit code 7"):
                job.result(timeout="1m")
            opener.join()
            second = home.platform.record()
            assert second is not None
            assert second.pid != first.pid
            assert job.info.attempt == 1

    def test_a_client_starts_a_platform_that_was_stopped_meanwhile(self, home: Home):
        with gridloom.connect(home=home.path) as client:
            client.run(["true"]).result(timeout="1m")
            assert home.gridloom("down").code == 0
            assert client.run(["true"]).result(timeout="1m").exit_code == 0
