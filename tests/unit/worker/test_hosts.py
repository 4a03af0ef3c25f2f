"""Where a role has its processes, as each of them is told."""

from __future__ import annotations

from gridloom.worker.hosts import (
    HOSTS_VARIABLE,
    Host,
    hosts_from_text,
    hosts_of,
    hosts_to_text,
    own_host,
)
from hypothesis import given
from hypothesis import strategies as st

FIRST = Host("rank-0.job-x-a1", "node-1", (0, 1, 2))
SECOND = Host("rank-3.job-x-a1", "node-2", (3, 5))
TEXT = "rank-0.job-x-a1@node-1=0-2 rank-3.job-x-a1@node-2=3-3,5-5"


def test_the_host_of_the_lowest_replica_is_the_first():
    assert hosts_to_text([SECOND, FIRST]) == TEXT
    assert hosts_from_text(TEXT) == (FIRST, SECOND)


@given(st.sets(st.integers(0, 10_000), min_size=1).map(lambda each: tuple(sorted(each))))
def test_any_replicas_come_back_as_they_were(replicas):
    host = Host("a", "n", replicas)
    assert hosts_from_text(hosts_to_text([host])) == (host,)


def test_a_process_finds_its_own_host():
    hosts = hosts_of({HOSTS_VARIABLE: TEXT})
    assert own_host(hosts, {"GRIDLOOM_REPLICA_INDEX": "3"}) == SECOND


def test_on_one_host_there_are_no_others():
    assert hosts_of({}) == ()
    assert hosts_of({HOSTS_VARIABLE: "rank-0.job-x-a1@node-1=0-2"}) == ()
