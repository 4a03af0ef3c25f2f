from __future__ import annotations

import socket

from gridloom.worker.pod.absence import Absence, search_domains

_UNKNOWN, _TROUBLE = socket.EAI_NONAME, socket.EAI_AGAIN


class Names:
    """A name server, and the time."""

    def __init__(self, **answers: int) -> None:
        self.answers = answers
        self.now = 0.0

    def ask(self, name: str) -> None:
        if code := self.answers.get(name.strip(".").replace(".", "_"), 0):
            raise socket.gaierror(code, "no")

    def absence(self) -> Absence:
        return Absence("front.ns", ["svc", "local"], self.ask, lambda: self.now)

    def is_gone_in(self, absence: Absence, seconds: float) -> bool:
        absence.is_certain()
        self.now += seconds
        return absence.is_certain()


def test_a_platform_whose_name_is_known_is_there():
    names = Names(front_ns=_TROUBLE, front_ns_svc=_UNKNOWN)
    assert not names.is_gone_in(names.absence(), 3600)


def test_a_name_that_nobody_knows_any_more_is_gone_after_a_while():
    names = Names(front_ns=_TROUBLE, front_ns_svc=_UNKNOWN, front_ns_local=_UNKNOWN)
    absence = names.absence()
    assert not names.is_gone_in(absence, 4)
    assert names.is_gone_in(absence, 2)


def test_a_name_server_in_trouble_says_nothing():
    names = Names(front_ns=_TROUBLE, front_ns_svc=_TROUBLE, front_ns_local=_TROUBLE)
    assert not names.is_gone_in(names.absence(), 3600)


def test_a_name_that_comes_back_was_not_gone():
    names = Names(front_ns=_UNKNOWN, front_ns_svc=_UNKNOWN, front_ns_local=_UNKNOWN)
    absence = names.absence()
    assert not absence.is_certain()
    answers, names.answers = names.answers, {}
    assert not names.is_gone_in(absence, 4)
    names.answers = answers
    assert not names.is_gone_in(absence, 4)


def test_the_domains_are_the_resolvers():
    text = "nameserver 10.96.0.10\nsearch ns.svc.cluster.local svc.cluster.local\noptions ndots:5\n"
    assert search_domains(text) == ["ns.svc.cluster.local", "svc.cluster.local"]
    assert search_domains("nameserver 1.2.3.4\n") == []
