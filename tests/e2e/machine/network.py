"""A network namespace in which docker and everything that it starts live.

It has one way out: a pair of virtual interfaces to this machine. There is no default route in it,
so that nothing in the cluster reaches outside the machine, whatever it asks for. (It would: before
kube-proxy is ready, a connection to the API server's service address takes the default route.)
Removing the namespace takes all bridges, NAT tables and forwarding settings with it.
"""

from __future__ import annotations

from pathlib import Path

from tests.e2e.machine.run import run, succeeds

NAME = "gridloom-e2e"
# Private addresses that docker's own defaults (172.17.0.0/16 and on) do not touch.
OUTER, INNER = "10.213.0.1", "10.213.0.2"
POOL = "10.213.16.0/20"
_CHAIN = "DOCKER-USER"
_HERE, _THERE = "gl-e2e0", "gl-e2e1"


def handle() -> Path:
    """The file that stands for the namespace."""
    return Path("/run/netns") / NAME


def inside(*command: str | Path) -> list[str | Path]:
    """The command, run in the namespace. (`ip netns exec` would also hide /sys/fs/cgroup.)"""
    return ["nsenter", f"--net={handle()}", *command]


def make() -> None:
    """Make the namespace and this machine's way into it. Does nothing when it is there.

    One whose making was interrupted is made anew.
    """
    if handle().exists():
        if _has_way():
            return
        remove()
    run(["ip", "netns", "add", NAME])
    run(["ip", "link", "add", _HERE, "type", "veth", "peer", "name", _THERE, "netns", NAME])
    run(["ip", "address", "add", f"{OUTER}/30", "dev", _HERE])
    run(["ip", "link", "set", _HERE, "up"])
    run(["ip", "-n", NAME, "address", "add", f"{INNER}/30", "dev", _THERE])
    for link in (_THERE, "lo"):
        run(["ip", "-n", NAME, "link", "set", link, "up"])
    run(["ip", "route", "add", POOL, "via", INNER])


def _has_way() -> bool:
    """Say whether the last step of the making was done."""
    return bool(run(["ip", "route", "show", POOL]).strip())


def open_door() -> None:
    """Let this machine reach containers by their own addresses; docker's rules forbid it.

    A docker that finds networks of an earlier life makes its chain for users only with the next.
    """
    if not succeeds(inside("iptables", "-n", "-L", _CHAIN)):
        run(inside("iptables", "-N", _CHAIN))
        run(inside("iptables", "-A", _CHAIN, "-j", "RETURN"))
        run(inside("iptables", "-I", "FORWARD", "-j", _CHAIN))
    rule = [_CHAIN, "-i", _THERE, "-j", "ACCEPT"]
    if not succeeds(inside("iptables", "-C", *rule)):
        run(inside("iptables", "-I", *rule))


def remove() -> None:
    """Remove it; the route and both interfaces go with it."""
    if handle().exists():
        # The kernel removes interfaces some time after their namespace: not leaving it to chance.
        succeeds(["ip", "link", "delete", _HERE])
        succeeds(["ip", "netns", "delete", NAME])
        # What holds it in another place of mounts is no reason to leave all the rest behind.
        handle().unlink(missing_ok=True)
