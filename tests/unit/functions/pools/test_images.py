"""Which image a pool's workers run in."""

import pytest
from gridloom_services.common.errors import VersionMismatchError
from gridloom_services.common.worker_images import WorkerImages
from gridloom_services.functions.pools.images import in_image
from gridloom_services.functions.pools.spec import PoolSpec

IMAGES = WorkerImages({"3.11": "lab/worker:1-py3.11", "3.12": "lab/worker:1-py3.12"})


def spec(**words):
    return PoolSpec(b"body", "default", python="/home/ada/bin/python", **words)


def test_a_pool_runs_in_the_image_of_its_clients_python():
    chosen = in_image(spec(python_version="3.12"), IMAGES)
    assert (chosen.image, chosen.python) == ("lab/worker:1-py3.12", "")


def test_an_image_of_the_users_own_counts_and_has_a_python_of_its_own():
    chosen = in_image(spec(python_version="3.13", image="ada/torch:2"), IMAGES)
    assert (chosen.image, chosen.python) == ("ada/torch:2", "")


def test_a_python_without_an_image_is_refused():
    with pytest.raises(VersionMismatchError):
        in_image(spec(python_version="3.13"), IMAGES)


def test_without_images_workers_run_with_the_clients_interpreter():
    given = spec(python_version="3.13")
    assert in_image(given, WorkerImages()) == given
