"""The launch shim, which the launcher takes for `ssh`: `python -m ...shim PORT FILE HOST WORDS`.

It has the agent of HOST run the words as one line for a shell, and is its standard streams and its
exit code here. It ends with whoever started it, and the command with it. FILE says by what name
each host is known: lines `ADDRESS NAME@NODE`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import grpc

from gridloom.api.mpi.v1 import agent_pb2, agent_pb2_grpc
from gridloom.worker.mpi.gang.secret import GangSecret, StrangerError
from gridloom.worker.mpi.gang.wire import CALLER_OPTIONS, LAUNCH, target
from gridloom.worker.supervision.processes import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_CHUNK_BYTES = 1 << 16
# As ssh has it: it failed itself, not the command.
_EXIT_FAILED = 255
_FEWEST_WORDS = 4


def shim_script(python: str, port: int, hosts: Path) -> str:
    """The executable that the launcher is given."""
    from shlex import quote

    words = " ".join(map(quote, (python, "-m", "gridloom.worker.mpi.gang.shim")))
    return f'#!/bin/sh\nexec {words} {port} {quote(str(hosts))} "$@"\n'


def hosts_lines(names: Mapping[str, str]) -> str:
    """The content of FILE; keys are addresses."""
    return "".join(f"{address} {name}\n" for address, name in names.items())


def main(words: list[str], parent: int) -> int:
    """Until the command has ended; its exit code."""
    die_with_parent()
    if os.getppid() != parent or len(words) < _FEWEST_WORDS:
        return _EXIT_FAILED
    port, file, address = int(words[0]), words[1], words[2]
    with open(file, encoding="utf-8") as lines:  # noqa: PTH123  # pathlib takes longer to import
        names = dict(line.split() for line in lines)
    name, _, node = names.get(address, f"{address}@{address}").partition("@")
    try:
        with grpc.insecure_channel(target(address, port), options=CALLER_OPTIONS) as channel:
            code = _run(channel, name, " ".join(words[3:]))
        reason = f"the launcher's command ended with {code}" if code else ""
    except (grpc.RpcError, StrangerError) as error:
        code = _EXIT_FAILED
        reason = str(error.details() if isinstance(error, grpc.RpcError) else error)
    if reason:
        said = " ".join(f"exit {code} -1 host {node} ({name}): {reason}".split())
        _tell_agent(os.path.join(os.path.dirname(file), "said"), said)  # noqa: PTH118, PTH120
    return code


def _run(channel: grpc.Channel, name: str, command: str) -> int:
    secret = GangSecret(os.environ.get("GRIDLOOM_TOKEN", ""))
    said = secret.caller_words(LAUNCH, name)
    is_known = threading.Event()
    stub = agent_pb2_grpc.RankAgentServiceStub(channel)
    call: Any = stub.Launch(_requests(command, is_known), metadata=said)
    secret.check_answerer(LAUNCH, name, said, call.initial_metadata() or ())
    is_known.set()
    for response in call:
        match response.WhichOneof("part"):
            case "exit_code":
                return int(response.exit_code)
            case "stdout":
                _write(1, response.stdout)
            case _:
                _write(2, response.stderr)
    return _EXIT_FAILED


def _tell_agent(pipe: str, line: str) -> None:
    """The launcher itself takes no notice."""
    with contextlib.suppress(OSError):  # nobody is there any more
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)


def _requests(command: str, is_known: threading.Event) -> Iterator[agent_pb2.LaunchRequest]:
    """The command, once it is known who answers; then our standard input."""
    is_known.wait()
    yield agent_pb2.LaunchRequest(command=command)
    while data := os.read(0, _CHUNK_BYTES):
        yield agent_pb2.LaunchRequest(stdin=data)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.getppid()))
