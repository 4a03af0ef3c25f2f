"""A command beside a running replica: its input and output over one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from gridloom.api.scheduler.v1 import scheduler_pb2 as pb
from gridloom.errors import InvalidRequestError, UnavailableError
from gridloom.rpc_errors import refusal_of
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gridloom.channel import Connection

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What the command came to."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def exec_requests(
    job_id: str, command: Sequence[str], role: str, index: int, stdin: Iterable[bytes]
) -> Iterator[pb.ExecJobRequest]:
    """What is sent: the start, the input in pieces, and that it has ended."""
    if not command:
        raise InvalidRequestError("command is empty", field="command")
    start = pb.ExecJobRequest.Start(job_id=job_id, role=role, index=index, command=command)
    return _messages(start, stdin)


def _messages(
    start: pb.ExecJobRequest.Start, stdin: Iterable[bytes]
) -> Iterator[pb.ExecJobRequest]:
    yield pb.ExecJobRequest(start=start)
    for data in stdin:
        yield pb.ExecJobRequest(stdin=data)
    yield pb.ExecJobRequest(stdin_closed=True)


def pieces_of(data: bytes) -> Iterator[bytes]:
    """Bytes in pieces that fit into messages."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


class ExecTally:
    """Gathers a command's output until its exit code comes."""

    def __init__(self) -> None:
        self._stdout: list[bytes] = []
        self._stderr: list[bytes] = []
        self._exit_code: int | None = None

    def take(self, answer: pb.ExecJobResponse) -> None:
        """The next part of the answer."""
        match answer.WhichOneof("part"):
            case "stdout":
                self._stdout.append(answer.stdout)
            case "stderr":
                self._stderr.append(answer.stderr)
            case "exit_code":
                self._exit_code = answer.exit_code

    def result(self) -> ExecResult:
        """The whole; an `UnavailableError` where the stream ended before the command."""
        if self._exit_code is None:
            raise UnavailableError("the stream ended before the command did")
        return ExecResult(self._exit_code, b"".join(self._stdout), b"".join(self._stderr))


def run_command(
    connection: Connection, requests: Iterator[pb.ExecJobRequest]
) -> Iterator[pb.ExecJobResponse]:
    """Run it and give what it answers, as it comes. Never tried again: it may have begun."""
    route = connection.route()
    stream = route.stub("scheduler").ExecJob(requests, metadata=route.endpoint.metadata)
    try:
        yield from stream
    except grpc.RpcError as error:
        raise refusal_of(error, route.endpoint.address).error from None
    finally:
        stream.cancel()
