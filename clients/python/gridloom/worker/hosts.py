"""The hosts of a role whose replicas on one node share a process, as each of them is told.

A runtime that has put such a role on several nodes tells each process, in `GRIDLOOM_HOSTS`, where
the others are: `NAME@NODE=FIRST-LAST` for each host, its replicas as ranges with commas, hosts
apart by blanks, the one with the lowest replica first. A process has the one with its own
`GRIDLOOM_REPLICA_INDEX` first among the replicas. On one node the variable is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOSTS_VARIABLE = "GRIDLOOM_HOSTS"


class Host(NamedTuple):
    """One host: `name` is what the others reach it by, `node` what people know it by."""

    name: str
    node: str
    replicas: tuple[int, ...]

    def __str__(self) -> str:
        return self.node if self.node == self.name else f"{self.node} ({self.name})"


def hosts_to_text(hosts: Iterable[Host]) -> str:
    """As it travels."""
    return " ".join(
        f"{host.name}@{host.node}={_ranges(host.replicas)}"
        for host in sorted(hosts, key=lambda each: each.replicas)
    )


def hosts_from_text(text: str) -> tuple[Host, ...]:
    """Read back what `hosts_to_text` gave."""
    hosts = []
    for word in text.split():
        place, _, ranges = word.partition("=")
        name, _, node = place.partition("@")
        hosts.append(Host(name, node, _numbers(ranges)))
    return tuple(hosts)


def hosts_of(environment: Mapping[str, str]) -> tuple[Host, ...]:
    """All hosts of this process's role; none where there is only this one."""
    hosts = hosts_from_text(environment.get(HOSTS_VARIABLE, ""))
    return hosts if len(hosts) > 1 else ()


def own_host(hosts: Iterable[Host], environment: Mapping[str, str]) -> Host:
    """The host that this process is on."""
    index = int(environment["GRIDLOOM_REPLICA_INDEX"])
    return next(host for host in hosts if index in host.replicas)


def ranges_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each run of numbers that follow each other."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def _ranges(numbers: Iterable[int]) -> str:
    return ",".join(f"{first}-{last}" for first, last in ranges_of(numbers))


def _numbers(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last) + 1)
    return tuple(found)
