from __future__ import annotations

import errno
import stat

import pytest
from gridloom.worker.supervision import handover
from gridloom.worker.supervision.handover import CollectedFile
from gridloom_services.scheduler.runtime.base import InputFile, OutputFile
from gridloom_services.scheduler.runtime.folders import Stored
from gridloom_services.scheduler.runtime.staging import Staging, StagingError

from tests.support.runtimes import ObjectsInMemory, digest_of

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def objects():
    return ObjectsInMemory()


@pytest.fixture
def staging(objects):
    return Staging(objects, patience_s=0.3)


def file(objects, path, content=b"hello", mode=0o644):
    return InputFile(path, objects.put(content), len(content), mode)


async def test_files_lie_below_the_folder_with_their_modes(objects, staging, tmp_path):
    work = tmp_path / "work"
    files = [file(objects, "a/b.txt"), file(objects, "run.sh", b"#!/bin/sh", 0o755)]
    await staging.bring(files, work, work)
    assert (work / "a/b.txt").read_bytes() == b"hello"
    assert stat.S_IMODE((work / "run.sh").stat().st_mode) == 0o755


async def test_bringing_files_again_replaces_what_is_there(objects, staging, tmp_path):
    work = tmp_path / "work"
    await staging.bring([file(objects, "a.txt", b"half", 0o400)], work, work)
    await staging.bring([file(objects, "a.txt")], work, work)
    assert (work / "a.txt").read_bytes() == b"hello"


async def test_a_folder_of_the_users_own_is_not_made(staging, tmp_path):
    with pytest.raises(StagingError, match=r"the working folder .* does not exist") as caught:
        await staging.bring([], tmp_path / "home", tmp_path / "work")
    assert caught.value.failure_class == handover.APPLICATION_ERROR


@pytest.mark.parametrize("path", ["../out.txt", "/etc/out.txt", "link/out.txt"])
async def test_no_file_is_written_outside_of_the_folder(objects, staging, tmp_path, path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "link").symlink_to(tmp_path)
    with pytest.raises(StagingError, match="is not below the working folder"):
        await staging.bring([file(objects, path)], work, work)
    assert not (tmp_path / "out.txt").exists()


async def test_an_object_that_is_not_there_is_the_jobs_fault(staging, tmp_path):
    missing = InputFile("a.txt", digest_of(b"never put"), 9)
    with pytest.raises(StagingError, match="there is no object sha256:") as caught:
        await staging.bring([missing], tmp_path, tmp_path)
    assert caught.value.failure_class == handover.APPLICATION_ERROR


async def test_a_store_in_trouble_is_asked_again(objects, staging, tmp_path):
    objects.troubles = [FULL]
    await staging.bring([file(objects, "a.txt")], tmp_path, tmp_path)
    assert (tmp_path / "a.txt").read_bytes() == b"hello"


async def test_a_store_that_stays_in_trouble_is_the_platforms_fault(objects, staging, tmp_path):
    objects.troubles = [FULL] * 100
    with pytest.raises(StagingError, match="No space left on device") as caught:
        await staging.bring([file(objects, "a.txt")], tmp_path, tmp_path)
    assert caught.value.failure_class == handover.NODE_LOST


async def test_outputs_are_stored_for_their_job(objects, staging, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"hello")
    stored = await staging.keep([CollectedFile("a.txt", 5, 0o600)], tmp_path, "job_a")
    assert stored == Stored((OutputFile("a.txt", digest_of(b"hello"), 5, 0o600),))
    assert objects.holders == {digest_of(b"hello"): "job_a"}


async def test_what_could_not_be_stored_is_told(objects, staging, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"hello")
    objects.troubles = [FULL] * 100
    stored = await staging.keep([CollectedFile("a.txt", 5, 0o600)], tmp_path, "job_a")
    assert stored.files == ()
    assert stored.failure == (
        "its output 'a.txt' is not stored: [Errno 28] No space left on device"
    )
