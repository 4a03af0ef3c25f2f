"""A job of ranks over hosts of namespaces: real agents, a real launcher, real ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle
from gridloom.worker.hosts import HOSTS_VARIABLE, Host, hosts_to_text
from gridloom.worker.mpi.report import Report, decoded
from gridloom.worker.mpi.spec import SPEC_VARIABLE, LaunchSpec, to_text

from tests.support.eventually import eventually_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.hosts import Hosts

TOKEN = "the token of the gang"
_PATIENCE_S = 45
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Ended(NamedTuple):
    """How an agent ended, and what it wrote."""

    code: int
    out: str
    err: str


class Gang:
    """One agent on each host; `ranks` of them, as many on each host."""

    def __init__(self, hosts: Hosts, folder: Path, ranks: int, **spec: Any) -> None:
        share = ranks // len(hosts.names)
        self._hosts = hosts
        self._folder = folder
        self.spec = LaunchSpec(
            **{"ranks": ranks, "implementation": "mpich", "command": [], "report": "left/report"}
            | {"gather_s": 30.0}
            | spec
        )
        self.places = [
            Host(name, name.replace("host", "node"), tuple(range(at * share, (at + 1) * share)))
            for at, name in enumerate(hosts.names)
        ]
        self.agents: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def of_program(cls, hosts: Hosts, folder: Path, ranks: int, text: str, **spec: Any) -> Gang:
        """Each rank runs this Python."""
        program = folder / "program.py"
        program.write_text(text)
        return cls(hosts, folder, ranks, command=["python", str(program)], **spec)

    @classmethod
    def of_function(
        cls, hosts: Hosts, folder: Path, ranks: int, function: Callable[..., Any], **spec: Any
    ) -> Gang:
        """Each rank runs this function with its communicator."""
        gang = cls(hosts, folder, ranks, function=function.__name__, call="call", **spec)
        for name in hosts.names:
            gang.folder(name).joinpath("call").write_bytes(pickle_of(function))
        return gang

    def folder(self, name: str) -> Path:
        """The working folder of a host's agent."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def start(self, *names: str, **environment: str) -> None:
        """The agents of these hosts, of all where none is named."""
        for place in self.places:
            if place.name in (names or self._hosts.names):
                own = {**self.environment(place.name), **environment}
                command = [sys.executable, "-m", "gridloom.worker.rank_agent"]
                folder = self.folder(place.name)
                self.agents[place.name] = self._hosts.start(place.name, command, own, folder)

    def environment(self, name: str) -> dict[str, str]:
        """What a runtime would tell the agent of a host."""
        (place,) = (each for each in self.places if each.name == name)
        return {
            "PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}",
            "PYTHONUNBUFFERED": "1",
            "GRIDLOOM_TOKEN": TOKEN,
            "GRIDLOOM_REPLICA_INDEX": str(place.replicas[0]),
            HOSTS_VARIABLE: hosts_to_text(self.places),
            SPEC_VARIABLE: to_text(self.spec),
        }

    def door(self) -> subprocess.Popen[bytes]:
        """A client's way to the ranks of a world."""
        return subprocess.Popen(
            [sys.executable, "-m", "gridloom.worker.mpi.door"],
            env=self.environment(self.places[0].name),
            cwd=self.folder(self.places[0].name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ended(self, name: str) -> Ended:
        """Wait for the agent of a host."""
        agent = self.agents[name]
        out, err = agent.communicate(timeout=_PATIENCE_S)
        return Ended(agent.returncode, out.decode(), err.decode())

    def run(self) -> list[Ended]:
        """Start all and wait for all, in the order of the hosts. Nothing is left then."""
        self.start()
        ends = [self.ended(name) for name in self.agents]
        self.assert_gone()
        return ends

    def report(self) -> Report:
        """What the first host has left."""
        return decoded(self.folder(self.places[0].name).joinpath("left/report").read_bytes())

    def assert_gone(self) -> None:
        """Nobody lives on any host."""
        for name in self._hosts.names:
            eventually_now(lambda name=name: self._hosts.alive(name) == [])  # type: ignore[misc]

    def process(self, name: str, words: str) -> int:
        """The process on a host with these words in its command line, once it is there."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [pid for pid in self._hosts.alive(name) if words in command_of(pid)]
            return bool(found)

        eventually_now(look)
        return max(found)


def pickle_of(function: Callable[..., Any], *args: Any) -> bytes:
    """A call as it travels, of a function of a test's own module."""
    cloudpickle.register_pickle_by_value(sys.modules[function.__module__])
    data: bytes = cloudpickle.dumps((function, args, {}), 5)
    return data


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def in_network(pid: int, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in the network of a process."""
    return subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
        env=os.environ | {"GRPC_VERBOSITY": "NONE"},
    )
