from __future__ import annotations

import errno

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from gridloom.errors import GridloomError, exception_from_status
from gridloom_services.common import errors
from gridloom_services.common.statuses import (
    STATUS_OF,
    error_of,
    refusal_of,
    status_of,
    trailers_of,
)


def every_error() -> list[type[errors.GridloomServiceError]]:
    found = [errors.GridloomServiceError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


def unpacked(error: errors.GridloomServiceError) -> status_pb2.Status:
    ((_, data),) = trailers_of(error)
    return status_pb2.Status.FromString(data)


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_status_and_its_details_say_the_same(kind):
    error = kind("it is so", field="queue", given=7)
    code, reason = status_of(error)
    status = unpacked(error)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message) == (code.value[0], "it is so")
    assert (info.reason, info.domain) == (reason, "gridloom")
    assert dict(info.metadata) == {"field": "queue", "given": "7"}


@pytest.mark.parametrize("kind", STATUS_OF)
def test_the_sdk_has_an_exception_for_every_reason(kind):
    code, reason = STATUS_OF[kind]
    exception = exception_from_status(code.name, "it is so", reason, {})
    assert isinstance(exception, GridloomError)
    # Most are called the same on both sides.
    expected = {
        errors.AlreadyExistsError: "ConflictError",
        errors.GridloomServiceError: "InternalError",
    }
    assert type(exception).__name__ == expected.get(kind, kind.__name__)


class Spoken(grpc.aio.AioRpcError):
    """What a call of another service raises."""

    def __init__(self, trailers):
        metadata = grpc.aio.Metadata(*trailers)
        super().__init__(grpc.StatusCode.UNKNOWN, grpc.aio.Metadata(), metadata, "it is so")


@pytest.mark.parametrize("kind", STATUS_OF)
def test_what_one_service_refuses_is_the_same_error_in_another(kind):
    found = error_of(Spoken(trailers_of(kind("it is so", field="queue", given=7))))
    expected = errors.InternalError if kind is errors.GridloomServiceError else kind
    assert type(found) is expected
    assert (found.message, found.details) == ("it is so", {"field": "queue", "given": "7"})


def test_where_grpc_itself_has_spoken_there_is_no_error_of_ours():
    assert error_of(Spoken(())) is None


def test_unavailable_says_when_to_try_again():
    status = unpacked(errors.UnavailableError("starting", retry_after_s=1.25))
    hint = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(hint)
    assert hint.retry_delay.ToMilliseconds() == 1250


def test_a_child_without_a_row_of_its_own_has_its_parents_status():
    class QueueClosedError(errors.ConflictError):
        pass

    code = (grpc.StatusCode.FAILED_PRECONDITION, "CONFLICT")
    assert status_of(QueueClosedError("closed")) == code


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_refusal(number):
    assert isinstance(refusal_of(OSError(number, "full")), errors.StorageFullError)


@pytest.mark.parametrize("error", [ValueError("a"), OSError(errno.EIO, "broken"), KeyError("b")])
def test_other_exceptions_are_defects(error):
    assert refusal_of(error) is None
