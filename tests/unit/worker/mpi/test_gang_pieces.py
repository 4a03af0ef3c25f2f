"""What ranks over several hosts are made of."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

import pytest
from gridloom.worker.hosts import Host
from gridloom.worker.mpi.gang.launched import Launched
from gridloom.worker.mpi.gang.lead import OtherHosts, clock_ahead_s, ranks_by_host
from gridloom.worker.mpi.gang.reach import UnreachableError, address_of
from gridloom.worker.mpi.gang.secret import GangSecret
from gridloom.worker.mpi.gang.server import AgentServer, HostSide, RankAgentServicer
from gridloom.worker.mpi.gang.shim import hosts_lines, shim_script
from gridloom.worker.mpi.gang.wire import address_of_peer, target
from gridloom.worker.mpi.implementations import Launcher, NotHereError
from gridloom.worker.mpi.spec import LaunchSpec

SPEC = LaunchSpec(4, "mpich", ["./solver"])
HOSTS = (Host("rank-0.g", "n1", (0, 1, 2)), Host("rank-3.g", "n2", (3,)))


def test_ranks_are_numbered_host_by_host():
    assert ranks_by_host(SPEC, HOSTS) == {"rank-0.g": range(3), "rank-3.g": range(3, 4)}
    assert OtherHosts(SPEC, HOSTS, "token").ranks_here(4) == range(3)


def test_hosts_that_do_not_have_all_ranks_are_refused():
    with pytest.raises(ValueError, match="room for 4 ranks, the job has 5"):
        ranks_by_host(SPEC._replace(ranks=5), HOSTS)


def test_open_mpi_is_not_launched_over_hosts():
    others = OtherHosts(SPEC, HOSTS, "token")
    with pytest.raises(NotHereError, match="Open MPI runs on one host only"):
        others.launcher_words(Launcher("openmpi", "/opt/bin/mpiexec"))


@pytest.mark.parametrize(
    ("asked", "theirs", "answered", "ahead_s"),
    [
        (10.0, 10.1, 10.4, 0.0),  # it may be the same clock
        (10.0, 110.2, 10.4, 100.0),
        (10.0, 5.2, 10.4, -5.0),
    ],
)
def test_a_host_s_clock_is_set_right_by_what_it_says(asked, theirs, answered, ahead_s):
    assert clock_ahead_s(asked, theirs, answered) == pytest.approx(ahead_s)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.1:4711", "10.0.0.1"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv6:%5B::ffff:10.0.0.1%5D:4711", "10.0.0.1"),
    ],
)
def test_the_address_of_who_calls_is_known(peer, address):
    assert address_of_peer(peer) == address


def test_addresses_are_told_without_names():
    assert target("10.0.0.1", 7) == "ipv4:10.0.0.1:7"
    assert target("fd00::1", 7) == "ipv6:[fd00::1]:7"


def test_the_shim_is_a_program_of_its_own(tmp_path):
    file = tmp_path / "two words" / "hosts"
    script = shim_script("/opt/py thon", 8471, file)
    assert script.splitlines()[1] == (
        f"exec '/opt/py thon' -m gridloom.worker.mpi.gang.shim 8471 '{file}' \"$@\""
    )
    assert hosts_lines({"10.0.0.2": "rank-3.g@n2"}) == "10.0.0.2 rank-3.g@n2\n"


def test_a_name_that_nobody_knows_is_said_so():
    until = time.monotonic()
    with pytest.raises(UnreachableError, match="its name is not known"):
        address_of("no-such-host.invalid", 8471, until, threading.Event())


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        side = HostSide("rank-0.g", GangSecret("token"), {}, tmp_path)
        with pytest.raises(OSError, match=f"port {port}, where"):
            AgentServer(RankAgentServicer(side, print), port)


def test_a_command_s_streams_and_end_are_told(tmp_path):
    launched = Launched("cat; echo bad >&2; pwd; exit 7", {"PATH": "/usr/bin:/bin"}, tmp_path)
    launched.feed([b"one ", b"two\n"])
    answers = list(launched.answers())
    out = b"".join(each.stdout for each in answers)
    assert out.decode() == f"one two\n{tmp_path}\n"
    assert b"".join(each.stderr for each in answers) == b"bad\n"
    assert [each.exit_code for each in answers if each.WhichOneof("part") == "exit_code"] == [7]


@pytest.mark.parametrize("is_ended", [True, False])
def test_nothing_is_left_of_a_command(tmp_path, is_ended):
    """Neither of one that is ended, nor of one that ends by itself and leaves others behind."""
    command = "sleep 600 & echo $!" + ("; wait" if is_ended else "")
    launched = Launched(command, {"PATH": "/usr/bin:/bin"}, tmp_path)
    launched.feed([])
    answers = launched.answers()
    child = int(next(answers).stdout)
    if is_ended:
        launched.end()
    assert [each.exit_code for each in answers][-1] == (-9 if is_ended else 0)
    assert _is_gone(child)


def _is_gone(pid: int) -> bool:
    shown = subprocess.run(
        [sys.executable, "-c", f"print(open('/proc/{pid}/stat').read().split()[2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout.strip() in {"", "Z"}
