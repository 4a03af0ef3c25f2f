from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gridloom import errors
from gridloom.api.scheduler.v1 import job_pb2, scheduler_pb2
from gridloom.channel import Connection, Route
from gridloom.endpoint import Endpoint
from gridloom.operation import Blocking, Call, Collect, Operation
from gridloom.version import PROTOCOL

from tests.support.scripted import Abort, ScriptedPlatform

if TYPE_CHECKING:
    from collections.abc import Iterable

ANSWER = scheduler_pb2.GetJobResponse(job=job_pb2.Job(id="job_1"))
GET = Call("scheduler", "GetJob", scheduler_pb2.GetJobRequest(job_id="job_1"))
LOST = Abort(grpc.StatusCode.UNAVAILABLE)


@dataclass
class Moving:
    """A platform that is somewhere else each time that it is looked for."""

    endpoints: list[Endpoint]
    asked: list[bool] = field(default_factory=list)
    name: str = "moving"

    def find(self, *, may_start: bool) -> Endpoint:
        self.asked.append(may_start)
        return self.endpoints.pop(0) if len(self.endpoints) > 1 else self.endpoints[0]


@dataclass
class Stopped:
    """A platform that is gone; it comes back when somebody may start it, or by itself."""

    old: Endpoint
    new: Endpoint
    comes_back_after: int
    asked: list[bool] = field(default_factory=list)
    name: str = "stopped"

    def find(self, *, may_start: bool) -> Endpoint:
        self.asked.append(may_start)
        if len(self.asked) == 1:
            return self.old
        if may_start or len(self.asked) > self.comes_back_after:
            return self.new
        raise errors.UnavailableError("no platform runs")


class Counting:
    """A following that reads events and goes on after the last one."""

    def __init__(self, wanted: int) -> None:
        self.seen: list[int] = []
        self.calls: list[int] = []
        self._wanted = wanted

    def call(self) -> Call:
        self.calls.append(len(self.seen))
        request = scheduler_pb2.WatchJobsRequest(from_revision=len(self.seen))
        return Call("scheduler", "WatchJobs", request)

    def feed(self, answer: Any) -> Iterable[int]:
        self.seen.append(answer.revision)
        return [answer.revision]

    def finish(self) -> Iterable[int]:
        return ()

    @property
    def over(self) -> bool:
        return len(self.seen) >= self._wanted


def change(revision: int) -> scheduler_pb2.WatchJobsResponse:
    return scheduler_pb2.WatchJobsResponse(revision=revision)


@pytest.fixture
def connection(platform: ScriptedPlatform) -> Iterable[Connection]:
    connection = Connection(Moving([platform.endpoint]), patience_s=5)
    yield connection
    connection.close()


def test_a_call_carries_the_token_and_the_protocol(
    platform: ScriptedPlatform, connection: Connection
):
    platform.script("GetJob", ANSWER)
    assert connection.call(GET).job.id == "job_1"
    metadata = platform.metadata["GetJob"][0]
    assert metadata["authorization"] == "Bearer the-token"
    assert metadata["gridloom-protocol"] == str(PROTOCOL)


def test_what_is_unavailable_is_tried_again(platform: ScriptedPlatform, connection: Connection):
    platform.script("GetJob", LOST, LOST, ANSWER)
    assert connection.call(GET).job.id == "job_1"
    assert len(platform.requests["GetJob"]) == 3


def test_the_pause_that_the_server_asks_for_counts_against_the_deadline(
    platform: ScriptedPlatform, connection: Connection
):
    busy = Abort(grpc.StatusCode.UNAVAILABLE, "starting", reason="UNAVAILABLE", retry_after_s=3600)
    platform.script("GetJob", busy, ANSWER)
    with pytest.raises(errors.UnavailableError, match="starting"):
        connection.call(GET)
    assert len(platform.requests["GetJob"]) == 1


def test_patience_ends(platform: ScriptedPlatform):
    connection = Connection(Moving([platform.endpoint]), patience_s=0.2)
    platform.script("GetJob", LOST)
    with pytest.raises(errors.UnavailableError, match="cannot be reached"):
        connection.call(GET)
    assert len(platform.requests["GetJob"]) >= 2
    connection.close()


def test_a_call_may_have_a_patience_of_its_own(connection: Connection, platform: ScriptedPlatform):
    platform.script("GetJob", LOST)
    with pytest.raises(errors.UnavailableError):
        connection.call(Call(GET.service, GET.method, GET.request, timeout_s=0.01))


def test_a_refusal_is_not_tried_again(platform: ScriptedPlatform, connection: Connection):
    refusal = Abort(
        grpc.StatusCode.INVALID_ARGUMENT,
        'queue "gpuu" does not exist; queues of project "chem": cpu, gpu',
        reason="INVALID_REQUEST",
        details={"field": "queue", "given": "gpuu", "allowed": "cpu, gpu"},
    )
    platform.script("GetJob", refusal)
    with pytest.raises(errors.InvalidRequestError) as raised:
        connection.call(GET)
    assert (raised.value.field, raised.value.allowed) == ("queue", "cpu, gpu")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert len(platform.requests["GetJob"]) == 1


def test_nobody_at_the_address_is_said_in_words(platform: ScriptedPlatform):
    platform.close()
    connection = Connection(Moving([platform.endpoint]), patience_s=0.3)
    with pytest.raises(errors.UnavailableError) as raised:
        connection.call(GET)
    assert str(raised.value).endswith("cannot be reached: connection refused")
    connection.close()


def test_a_platform_that_came_back_elsewhere_is_found_there(platform: ScriptedPlatform):
    gone = ScriptedPlatform()
    gone.close()
    locator = Moving([gone.endpoint, platform.endpoint])
    connection = Connection(locator, patience_s=5)
    platform.script("GetJob", ANSWER)
    assert connection.call(GET).job.id == "job_1"
    assert connection.endpoint() == platform.endpoint
    connection.close()


def test_a_transfer_goes_on_as_long_as_something_moves(platform: ScriptedPlatform):
    connection = Connection(Moving([platform.endpoint]), patience_s=0.2)
    platform.script("GetJob", *[LOST] * 12, ANSWER)
    moved = 0

    def work(route: Route) -> str:
        nonlocal moved
        moved += 1
        answer = route.stub("scheduler").GetJob(GET.request)
        return str(answer.job.id)

    assert connection.transfer(work, lambda: moved) == "job_1"
    platform.script("GetJob", LOST)
    with pytest.raises(errors.UnavailableError):
        connection.transfer(lambda route: route.stub("scheduler").GetJob(GET.request), lambda: 0)
    connection.close()


def test_a_stream_is_taken_up_where_it_broke_off(
    platform: ScriptedPlatform, connection: Connection
):
    platform.script(
        "WatchJobs",
        Abort(grpc.StatusCode.UNAVAILABLE, after=(change(1), change(2))),
        [change(3)],
        [change(4), change(5), None],
    )
    following = Counting(wanted=5)
    assert list(connection.follow(following)) == [1, 2, 3, 4, 5]
    assert following.calls == [0, 2, 3]


def test_a_request_starts_a_platform_that_was_stopped(platform: ScriptedPlatform):
    gone = ScriptedPlatform()
    gone.close()
    locator = Stopped(gone.endpoint, platform.endpoint, comes_back_after=100)
    connection = Connection(locator, patience_s=5)
    platform.script("GetJob", ANSWER)
    connection.call(GET)
    assert locator.asked == [True, True]
    connection.close()


def test_who_only_looks_on_waits_for_a_platform_and_starts_none(platform: ScriptedPlatform):
    gone = ScriptedPlatform()
    gone.close()
    locator = Stopped(gone.endpoint, platform.endpoint, comes_back_after=3)
    connection = Connection(locator, patience_s=5)
    platform.script("WatchJobs", [change(1), None])
    assert list(connection.follow(Counting(wanted=1))) == [1]
    assert locator.asked == [True, False, False, False]
    connection.close()
    never = Stopped(gone.endpoint, platform.endpoint, comes_back_after=100)
    connection = Connection(never, patience_s=0.3)
    with pytest.raises(errors.UnavailableError):
        list(connection.follow(Counting(wanted=1)))
    assert set(never.asked[1:]) == {False}
    connection.close()


def test_a_stream_on_which_nothing_happened_for_long_is_taken_up_with_full_patience(
    platform: ScriptedPlatform,
):
    stopping = Abort(grpc.StatusCode.UNAVAILABLE, reason="UNAVAILABLE")
    platform.script("WatchJobs", lambda _: time.sleep(0.6) or stopping, [change(1), None])
    connection = Connection(Moving([platform.endpoint]), patience_s=0.3)
    assert list(connection.follow(Counting(wanted=1))) == [1]
    connection.close()


def test_a_stream_that_takes_too_long_is_a_time_out(
    platform: ScriptedPlatform, connection: Connection
):
    platform.script("WatchJobs", [change(1), None])
    following = Counting(wanted=5)
    with pytest.raises(TimeoutError, match=r"not over after 0\.3 s"):
        list(connection.follow(following, timeout_s=0.3))
    assert following.seen == [1]


def test_leaving_a_stream_early_ends_it_on_the_platform(
    platform: ScriptedPlatform, connection: Connection
):
    platform.script("WatchJobs", [change(1), None])
    stream = connection.follow(Counting(wanted=5))
    assert next(stream) == 1
    stream.close()
    assert platform.released.wait(10)


def test_an_operation_is_driven_to_its_result(platform: ScriptedPlatform, connection: Connection):
    platform.script("GetJob", ANSWER)
    platform.script("WatchJobs", [change(1), change(2), None])

    def operation() -> Operation[tuple[str, str, list[int]]]:
        answer = yield GET
        worked = yield Blocking(lambda connection: connection.locator.name)
        seen = yield Collect(Counting(wanted=2))
        return answer.job.id, worked, seen

    assert connection.run(operation()) == ("job_1", "moving", [1, 2])


def test_an_operation_may_go_on_after_an_error(platform: ScriptedPlatform, connection: Connection):
    platform.script("GetJob", Abort(grpc.StatusCode.NOT_FOUND, reason="NOT_FOUND"))

    def operation() -> Operation[str]:
        try:
            yield GET
        except errors.NotFoundError:
            return "not there"
        return "there"

    assert connection.run(operation()) == "not there"


def test_a_closed_connection_opens_again_on_use(platform: ScriptedPlatform, connection: Connection):
    platform.script("GetJob", ANSWER)
    connection.call(GET)
    connection.close()
    assert connection.call(GET).job.id == "job_1"


def test_an_endpoint_never_shows_its_token():
    assert "secret" not in repr(Endpoint("127.0.0.1:1", token="secret"))


FORKING = """
import os, sys
from gridloom.api.scheduler.v1 import scheduler_pb2
from gridloom.channel import Connection, Route
from gridloom.endpoint import Endpoint
from gridloom.locate import FixedAddress
from gridloom.operation import Call

connection = Connection(FixedAddress(Endpoint(sys.argv[1])))
get = Call("scheduler", "GetJob", scheduler_pb2.GetJobRequest(job_id="job_1"))
print("parent", connection.call(get).job.id, flush=True)
child = os.fork()
if child == 0:
    print("child", connection.call(get).job.id, flush=True)
    os._exit(0)
print("child ended with", os.waitpid(child, 0)[1], flush=True)
print("parent", connection.call(get).job.id, flush=True)
"""


def test_a_forked_child_gets_a_channel_of_its_own(platform: ScriptedPlatform):
    platform.script("GetJob", ANSWER)
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, platform.address]
    said = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.splitlines() == [
        "parent job_1",
        "child job_1",
        "child ended with 0",
        "parent job_1",
    ]
