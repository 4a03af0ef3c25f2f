"""Calls with `durable=False` on a real embedded platform: arrays in shared memory."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import gridloom
import numpy as np
import pytest
from gridloom.api.objects.v1 import objects_pb2
from gridloom.errors import PayloadLostError
from gridloom.operation import Call

from tests.support.eventually import eventually_now
from tests.support.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 60
SIZE = 2 << 20


class Shared:
    """A platform and the shared memory that it has told of."""

    def __init__(self, path: Path, client: gridloom.Client) -> None:
        self.home = path
        self.client = client
        request = Call("objects", "StatObjects", objects_pb2.StatObjectsRequest(shared_memory=True))
        self.folder = Path(client.connection.call(request).shared_memory.folder)

    def used(self) -> list[Path]:
        return sorted((self.folder / "used").iterdir())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    home = Home(tmp_path_factory.mktemp("platform") / "home")
    try:
        with gridloom.connect(home=home.path) as client:
            shared = Shared(home.path, client)
            yield shared
    finally:
        home.close()
    assert not shared.folder.exists()


@pytest.fixture(autouse=True)
def _nothing_is_left(shared: Shared) -> Iterator[None]:
    """What a test has used is let go of when its results are read."""
    yield
    eventually_now(lambda: shared.used() == [])


@gridloom.function(durable=False)
def echo(array):
    return array


@gridloom.function(durable=False)
def changed(array):
    array += 1
    return array


@gridloom.function(durable=False)
def grown(array):
    return np.concatenate([array, array])


@gridloom.function(durable=False)
def texts(count):
    return [f"text {n}" for n in range(count)]


@gridloom.function(durable=False)
def summed(*arrays):
    return sum(int(array[0]) for array in arrays)


@gridloom.function(durable=False)
def after(path, array):
    while not Path(path).exists():
        time.sleep(0.01)
    return array


@gridloom.function(durable=False)
def dies_once(path, array):
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return array


def filled(number: int) -> np.ndarray:
    return np.full(SIZE, number, np.uint8)


def objects_of(home: Path) -> list[Path]:
    return [path for path in (home / "objects" / "content").rglob("*") if path.is_file()]


def test_arrays_go_and_come_back_and_nothing_of_them_is_on_disk(shared):
    echo.submit(filled(0)).result(PATIENCE_S)  # this module itself goes to the workers as an object
    before = objects_of(shared.home)
    for number in range(5):
        array = filled(number)
        assert (echo.submit(array).result(PATIENCE_S) == number).all()
        assert (changed.submit(array).result(PATIENCE_S) == number + 1).all()
        assert len(grown.submit(array).result(PATIENCE_S)) == 2 * SIZE
        assert (array == number).all()
    assert objects_of(shared.home) == before


def test_a_result_is_its_readers_own_for_as_long_as_it_likes(shared):
    del shared
    first = echo.submit(filled(1)).result(PATIENCE_S)
    first[:10] = 7
    for number in range(4):
        echo.submit(filled(number)).result(PATIENCE_S)
    assert (first[:10].tolist(), set(first[10:].tolist())) == ([7] * 10, {1})


def test_a_large_pickle_without_arrays_comes_back(shared):
    del shared
    assert texts.submit(200_000).result(PATIENCE_S)[-1] == "text 199999"


def test_results_go_from_call_to_call(shared):
    del shared
    one = echo.submit(filled(1))
    two = grown.submit(echo.submit(filled(2)))
    assert summed.submit(one, two, one).result(PATIENCE_S) == 4


def test_a_result_is_handed_on_as_an_argument(shared):
    del shared
    result = echo.submit(filled(3)).result(PATIENCE_S)
    again = echo.submit(result)
    result[:] = 4  # what was sent was sent
    assert (again.result(PATIENCE_S) == 3).all()


def test_many_wait_unread(shared):
    del shared
    futures = [echo.submit(filled(number)) for number in range(20)]
    assert [int(future.result(PATIENCE_S)[-1]) for future in futures] == list(range(20))


def test_a_map_of_arrays(shared):
    del shared
    found = echo.map([filled(number) for number in range(6)])
    assert [int(array[0]) for array in found] == list(range(6))


def test_a_call_whose_worker_died_runs_again_with_the_same_array(shared, tmp_path):
    del shared
    assert (dies_once.submit(tmp_path / "died", filled(5)).result(PATIENCE_S) == 5).all()


def test_a_call_whose_array_is_gone_says_so(shared, tmp_path):
    waiting = [after.submit(tmp_path / "go", filled(n)) for n in range(1 + (os.cpu_count() or 1))]
    for path in shared.used():
        path.unlink()
    (tmp_path / "go").touch()
    assert PayloadLostError in {type(one.exception(PATIENCE_S)) for one in waiting}


def script(shared: Shared, body: str) -> list[str]:
    head = f"""
        import gridloom, numpy, os, signal, sys, time
        client = gridloom.connect(home={str(shared.home)!r})
        @gridloom.function(durable=False)
        def echo(array):
            time.sleep(0.2)
            return array
    """
    return [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(body)]


def test_the_result_of_a_client_that_died_is_read_by_another_one(shared):
    body = """
        future = echo.submit(numpy.full(2 << 20, 9, numpy.uint8))
        print(future.id, flush=True)
        client.get(future.id)  # accepted
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        script(shared, body), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (shared.client.get(done.stdout.strip()).result(PATIENCE_S) == 9).all()
    for path in shared.used():  # nobody will ever confirm it
        path.unlink()


@pytest.mark.slow
def test_a_platform_that_is_killed_amid_calls_goes_on_with_their_arrays(tmp_path):
    home, go = Home(tmp_path / "home"), tmp_path / "go"
    try:
        with gridloom.connect(home=home.path) as client:
            shared = Shared(home.path, client)
            futures = [client.submit(after, go, filled(number)) for number in range(6)]
            assert client.get(futures[-1].id) is not None  # accepted
            killed = home.platform.running()
            assert killed is not None
            os.kill(killed.pid, signal.SIGKILL)
            assert home.gridloom("up").code == 0
            go.touch()
            assert [int(one.result(PATIENCE_S)[0]) for one in futures] == list(range(6))
            eventually_now(lambda: shared.used() == [])
    finally:
        home.close()
    assert not shared.folder.exists()


@pytest.mark.slow
def test_without_shared_memory_it_is_durable_and_says_so(tmp_path, caplog):
    home = Home(tmp_path / "home")
    home.environment["GRIDLOOM_OBJECTS_MEMORY_FOLDER"] = ""
    try:
        assert home.gridloom("up").code == 0
        with gridloom.connect(home=home.path) as client, caplog.at_level(logging.WARNING):
            client.submit(echo, 1).result(PATIENCE_S)  # this module itself becomes an object
            before = objects_of(home.path)
            assert (client.submit(echo, filled(1)).result(PATIENCE_S) == 1).all()
        assert "durable=False has no effect" in caplog.text
        assert len(objects_of(home.path)) == len(before) + 1
    finally:
        home.close()
