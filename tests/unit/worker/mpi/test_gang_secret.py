"""How agents of a gang know each other."""

from __future__ import annotations

import pytest
from gridloom.worker.mpi.gang.secret import GangSecret, StrangerError

METHOD, HOST = "/service/Launch", "rank-2.job-x-a1"
GANG = GangSecret("a token")


def test_who_has_the_token_is_known_and_is_shown_it_too():
    said = GANG.caller_words(METHOD, HOST)
    answer = GangSecret("a token").answerer_words(METHOD, HOST, said)
    GANG.check_answerer(METHOD, HOST, said, answer)


def test_the_token_itself_does_not_travel():
    assert "a token" not in str(GANG.caller_words(METHOD, HOST))


@pytest.mark.parametrize(
    ("said", "method", "host"),
    [
        ((), METHOD, HOST),
        (GangSecret("another").caller_words(METHOD, HOST), METHOD, HOST),
        (GANG.caller_words(METHOD, HOST), "/service/Attend", HOST),
        (GANG.caller_words(METHOD, HOST), METHOD, "rank-4.job-x-a1"),
    ],
)
def test_strangers_and_words_for_others_are_refused(said, method, host):
    with pytest.raises(StrangerError):
        GangSecret("a token").answerer_words(method, host, said)


def test_what_was_overheard_opens_nothing():
    said, listener = GANG.caller_words(METHOD, HOST), GangSecret("a token")
    listener.answerer_words(METHOD, HOST, said)
    with pytest.raises(StrangerError, match="repeats"):
        listener.answerer_words(METHOD, HOST, said)


@pytest.mark.parametrize("other", [None, "another"])
def test_who_answers_without_the_token_is_found_out(other):
    said = GANG.caller_words(METHOD, HOST)
    words = () if other is None else GangSecret(other).caller_words(METHOD, HOST)
    with pytest.raises(StrangerError, match="answers there"):
        GANG.check_answerer(METHOD, HOST, said, words)


def test_without_a_token_there_is_no_gang_over_hosts():
    with pytest.raises(ValueError, match="GRIDLOOM_TOKEN"):
        GangSecret("")
