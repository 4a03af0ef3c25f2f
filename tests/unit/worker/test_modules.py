"""Modules are unpacked although the disk is full for a while; that is not the user's affair."""

import io
import sys
import threading
import time
import zipfile

import pytest
from gridloom.errors import StorageFullError
from gridloom.worker.modules import ModuleShelf

from tests.support.small_disk import fill, small_disk


@pytest.fixture
def disk(tmp_path):
    path = list(sys.path)
    with small_disk(tmp_path / "disk", 2) as folder:
        yield folder
    sys.path[:] = path


def bundle(_):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("gl_roomy.py", f"value = {'x' * 50_000!r}")
    return file.getvalue()


def test_a_full_disk_is_waited_for(disk):
    filler = fill(disk)
    unpacked = threading.Event()

    def make_room():
        time.sleep(0.1)
        assert not unpacked.is_set()
        filler.unlink()

    helper = threading.Thread(target=make_room)
    helper.start()
    ModuleShelf(disk / "shelf", bundle).activate("sha256:1")
    unpacked.set()
    helper.join()
    assert (disk / "shelf" / "sha256-1" / "gl_roomy.py").exists()


def test_a_disk_that_stays_full_is_told_as_the_platforms_trouble(disk):
    fill(disk)
    with pytest.raises(StorageFullError, match=r"no room for \d+ bytes of modules"):
        ModuleShelf(disk / "shelf", bundle, patience_s=0.3).activate("sha256:1")
    assert not (disk / "shelf" / "sha256-1").exists()
