from __future__ import annotations

from typing import Any

import pytest
from gridloom import errors
from gridloom.api.scheduler.v1 import job_pb2
from gridloom.jobs.info import read_job
from gridloom.jobs.logs import LogLine, Source
from gridloom.jobs.outcome import failed_numbers, failure_of, result_of, tail_text

from tests.unit.sdk.jobs.examples import JOB, array, job


def failed(failure: str, **fields: Any) -> job_pb2.Job:
    number = job_pb2.FailureClass.Value(f"FAILURE_CLASS_{failure}")
    return job("FAILED", failure_class=number, **fields)


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        (failed("APPLICATION_ERROR", exit_code=3), errors.JobFailedError, "failed: exit code 3"),
        (failed("APPLICATION_ERROR", signal=11), errors.JobFailedError, "killed by SIGSEGV"),
        (
            failed("OUT_OF_MEMORY", signal=9, peak_memory_bytes=4096),
            errors.OutOfMemoryError,
            "out of memory at 4 KiB",
        ),
        (failed("TIME_LIMIT", signal=15), errors.TimeLimitError, "over its time limit of 2h"),
        (failed("NODE_LOST", reason="n1 is gone"), errors.NodeLostError, "n1 is gone"),
        (failed("IMAGE_NOT_FOUND"), errors.ImageNotFoundError, "image not found"),
        (failed("PREEMPTED"), errors.PreemptedError, "preempted"),
        (failed("EVICTED"), errors.EvictedError, "evicted"),
        (failed("UNSCHEDULABLE"), errors.UnschedulableError, "unschedulable"),
        (job("CANCELLED", reason="by ada"), errors.CancelledError, "was cancelled: by ada"),
    ],
)
def test_each_class_of_failure_has_its_error(
    message: job_pb2.Job, kind: type[errors.JobError], words: str
):
    info = read_job(message)
    error = failure_of(info, culprit=info, tail="last words")
    assert type(error) is kind
    assert error.message.startswith(f"{JOB} (solver) ")
    assert words in error.message
    assert error.log_tail == "last words"
    assert error.job_id == JOB


def test_memory_is_told_with_its_limit():
    info = read_job(failed("OUT_OF_MEMORY", peak_memory_bytes=4096))
    error = failure_of(info, culprit=info)
    assert isinstance(error, errors.OutOfMemoryError)
    assert (error.peak_bytes, error.limit_bytes) == (4096, 1024)


def test_an_array_names_the_elements_that_failed():
    info = read_job(array({"SUCCEEDED": 4, "FAILED": 2, "CANCELLED": 1}, "FAILED"))
    culprit = read_job(failed("APPLICATION_ERROR", exit_code=9))
    assert failed_numbers(info) == [4, 5]
    error = failure_of(info, culprit=culprit)
    assert "2 of 7 elements (4, 5); element 4: exit code 9" in error.message


def test_many_failed_elements_are_counted_and_not_listed():
    info = read_job(array({"FAILED": 1000}, "FAILED"))
    error = failure_of(info, culprit=info)
    assert "1000 of 1000 elements (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)" in error.message


def test_a_success_has_a_result():
    result = result_of(read_job(job("SUCCEEDED", cpu_seconds=1.5, peak_memory_bytes=7)))
    assert (result.exit_code, result.run_s, result.cpu_seconds) == (0, 60, 1.5)


def test_the_last_lines_end_with_standard_error():
    def line(text: str, *, is_error: bool) -> LogLine:
        return LogLine(Source(0, "main", 0, is_error, 1), text)

    lines = [line("traceback", is_error=True), line("step 1", is_error=False)]
    assert tail_text(lines) == "step 1\ntraceback"
    assert len(tail_text([line("x", is_error=False)] * 50).splitlines()) == 20
