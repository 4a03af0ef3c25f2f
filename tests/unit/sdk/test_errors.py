from __future__ import annotations

import concurrent.futures
import pickle

import pytest
from gridloom import errors
from gridloom.api.functions.v1 import call_pb2
from gridloom.errors import exception_from_call_error, exception_from_status


def every_error() -> list[type[errors.GridloomError]]:
    found, new = [], [errors.GridloomError]
    while new:
        kind = new.pop()
        found.append(kind)
        new += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling_with_its_details(kind: type[errors.GridloomError]):
    error = pickle.loads(pickle.dumps(kind("it broke", field="cpus", exit_code=3)))
    assert type(error) is kind
    assert error.message == "it broke"
    assert error.details == {"field": "cpus", "exit_code": 3}


def test_errors_are_found_under_the_names_that_python_users_know():
    assert issubclass(errors.InvalidRequestError, ValueError)
    assert issubclass(errors.NotFoundError, LookupError)
    assert issubclass(errors.CancelledError, concurrent.futures.CancelledError)


def test_a_failed_job_shows_its_last_lines():
    error = errors.JobFailedError("job_1 failed: exit code 3", exit_code=3, log_tail="a\nb\n")
    assert str(error) == "job_1 failed: exit code 3\n  | a\n  | b"
    assert error.exit_code == 3
    assert error.signal is None


def test_numbers_that_came_as_text_are_numbers_again():
    error = errors.OutOfMemoryError("too much", peak_bytes="2048", limit_bytes="1024", signal="0")
    assert (error.peak_bytes, error.limit_bytes, error.signal) == (2048, 1024, None)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("INVALID_REQUEST", errors.InvalidRequestError),
        ("PAYLOAD_TOO_LARGE", errors.PayloadTooLargeError),
        ("NOT_FOUND", errors.NotFoundError),
        ("ALREADY_EXISTS", errors.ConflictError),
        ("CONFLICT", errors.ConflictError),
        ("VERSION_MISMATCH", errors.VersionMismatchError),
        ("UNAUTHENTICATED", errors.UnauthenticatedError),
        ("PERMISSION_DENIED", errors.PermissionDeniedError),
        ("QUOTA_EXCEEDED", errors.QuotaExceededError),
        ("UNAVAILABLE", errors.UnavailableError),
        ("STORAGE_FULL", errors.StorageFullError),
        ("INTERNAL", errors.InternalError),
    ],
)
def test_the_reason_decides_and_not_the_status(reason: str, kind: type[errors.GridloomError]):
    error = exception_from_status("UNKNOWN", "why", reason, {"field": "queue"})
    assert type(error) is kind
    assert error.details == {"field": "queue"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("RESOURCE_EXHAUSTED", errors.QuotaExceededError),
        ("UNIMPLEMENTED", errors.VersionMismatchError),
        ("DEADLINE_EXCEEDED", errors.UnavailableError),
        ("DATA_LOSS", errors.InternalError),
    ],
)
def test_without_a_reason_the_status_decides(status: str, kind: type[errors.GridloomError]):
    assert type(exception_from_status(status, "why")) is kind


def test_every_reason_of_the_services_has_an_exception():
    statuses = pytest.importorskip("gridloom_services.common.statuses")
    for _, reason in statuses.STATUS_OF.values():
        known = exception_from_status("UNKNOWN", "why", reason)
        assert type(known) is not errors.InternalError or reason == "INTERNAL"


class TestCallErrors:
    def test_what_the_user_raised_is_raised_as_itself_caused_by_its_traceback(self):
        told = call_pb2.CallError(
            type="builtins.KeyError", pickle=pickle.dumps(KeyError("x")), traceback="File 1"
        )
        error = exception_from_call_error(call_pb2.CALL_STATUS_ERROR, told)
        assert isinstance(error, KeyError)
        assert error.args == ("x",)
        assert isinstance(error.__cause__, errors.RemoteTraceback)
        assert "File 1" in str(error.__cause__)

    def test_what_cannot_be_rebuilt_here_still_says_what_it_was(self):
        told = call_pb2.CallError(type="torch.Oops", message="cuda", pickle=b"garbage")
        error = exception_from_call_error(call_pb2.CALL_STATUS_ERROR, told)
        assert isinstance(error, errors.RemoteError)
        assert error.type == "torch.Oops"
        assert error.message == "torch.Oops: cuda"

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (call_pb2.CALL_STATUS_TIMEOUT, errors.TimeLimitError),
            (call_pb2.CALL_STATUS_CANCELLED, errors.CancelledError),
            (call_pb2.CALL_STATUS_WORKER_DIED, errors.WorkerDiedError),
            (call_pb2.CALL_STATUS_OUT_OF_MEMORY, errors.OutOfMemoryError),
        ],
    )
    def test_an_end_without_an_exception_is_named_by_its_status(
        self, status: int, kind: type[errors.GridloomError]
    ):
        told = call_pb2.CallError(message="so", details={"signal": "11"})
        error = exception_from_call_error(status, told)
        assert type(error) is kind
        assert isinstance(error, errors.JobError)
        assert error.signal == 11

    def test_an_error_of_ours_comes_by_its_name(self):
        told = call_pb2.CallError(
            type="gridloom.errors.InvalidRequestError", message="no pool", details={"field": "pool"}
        )
        error = exception_from_call_error(call_pb2.CALL_STATUS_REFUSED, told)
        assert isinstance(error, errors.InvalidRequestError)
        assert error.field == "pool"
