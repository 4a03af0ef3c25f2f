"""The images in which users' Python runs."""

import pytest
from gridloom_services.common.errors import SettingsError, VersionMismatchError
from gridloom_services.common.worker_images import worker_images

PAIRS = ("3.11=lab/worker:1-py3.11", "3.12=lab/worker:1-py3.12")
IMAGES = worker_images(PAIRS, "IMAGES")


def test_a_function_finds_the_image_with_its_python():
    assert IMAGES.equal("3.12") == "lab/worker:1-py3.12"


def test_a_python_without_an_image_is_refused_with_those_that_there_are():
    with pytest.raises(VersionMismatchError) as caught:
        IMAGES.equal("3.13")
    assert "no worker image for Python 3.13" in caught.value.message
    assert "3.11 (lab/worker:1-py3.11), 3.12 (lab/worker:1-py3.12)" in caught.value.message
    assert caught.value.details["allowed"] == "3.11, 3.12"


def test_a_program_runs_in_the_newest_where_none_has_its_python():
    assert IMAGES.nearest("3.11") == "lab/worker:1-py3.11"
    assert IMAGES.nearest("3.13") == "lab/worker:1-py3.12"


@pytest.mark.parametrize("pair", ["3.11", "3.11=", "2.7=old", "=x"])
def test_a_setting_that_names_no_image_is_refused(pair):
    with pytest.raises(SettingsError, match=r"IMAGES has .*=IMAGE is expected"):
        worker_images((pair,), "IMAGES")
