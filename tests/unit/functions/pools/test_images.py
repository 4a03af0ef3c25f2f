"""Which image a pool's workers run in."""

import pytest
from gridloom_services.common.errors import SettingsError, VersionMismatchError
from gridloom_services.functions.pools.images import WorkerImages, worker_images
from gridloom_services.functions.pools.spec import PoolSpec

IMAGES = worker_images(("3.11=lab/worker:1-py3.11", "3.12=lab/worker:1-py3.12"))


def spec(**words):
    return PoolSpec(b"body", "default", python="/home/ada/bin/python", **words)


def test_a_pool_runs_in_the_image_of_its_clients_python():
    chosen = IMAGES.chosen(spec(python_version="3.12"))
    assert (chosen.image, chosen.python) == ("lab/worker:1-py3.12", "")


def test_an_image_of_the_users_own_counts_and_has_a_python_of_its_own():
    chosen = IMAGES.chosen(spec(python_version="3.13", image="ada/torch:2"))
    assert (chosen.image, chosen.python) == ("ada/torch:2", "")


def test_a_python_without_an_image_is_refused_with_those_that_there_are():
    with pytest.raises(VersionMismatchError) as caught:
        IMAGES.chosen(spec(python_version="3.13"))
    assert "no worker image for Python 3.13" in caught.value.message
    assert "3.11 (lab/worker:1-py3.11), 3.12 (lab/worker:1-py3.12)" in caught.value.message
    assert caught.value.details["allowed"] == "3.11, 3.12"


def test_without_images_workers_run_with_the_clients_interpreter():
    given = spec(python_version="3.13")
    assert WorkerImages().chosen(given) == given


@pytest.mark.parametrize("pair", ["3.11", "3.11=", "2.7=old", "=x"])
def test_a_setting_that_names_no_image_is_refused(pair):
    with pytest.raises(SettingsError, match="=IMAGE is expected"):
        worker_images((pair,))
