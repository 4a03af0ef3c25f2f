from __future__ import annotations

import stat
import subprocess
import sys

import pytest
from gridloom_services.common.auth import Principal
from gridloom_services.common.errors import UnauthenticatedError
from gridloom_services.common.tokens import (
    GangTokens,
    ServiceTokens,
    SignedTokens,
    read_or_create_secret,
    read_or_create_token,
)
from hypothesis import given
from hypothesis import strategies as st

SECRET = b"0" * 32


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.text(), st.integers(1, 10**6), st.text(), st.none() | st.integers(0, 10**6), st.text())
def test_a_gangs_token_tells_whose_it_is(job_id, attempt, project, element, owner):
    tokens = GangTokens(SECRET)
    principal = tokens.verify(tokens.issue(job_id, attempt, project, element, owner=owner))
    expected = Principal(owner or job_id, "gang", project, job_id, attempt, element)
    assert principal == expected


def test_a_token_of_another_platform_is_refused():
    with pytest.raises(UnauthenticatedError):
        GangTokens(b"1" * 32).verify(GangTokens(SECRET).issue("job_1", 1, "chem"))


@given(st.data())
def test_a_token_with_any_character_changed_is_refused(data):
    token = GangTokens(SECRET).issue("job_1", 1, "chem")
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters().filter(lambda c: c != token[place]))
    with pytest.raises(UnauthenticatedError):
        GangTokens(SECRET).verify(token[:place] + other + token[place + 1 :])


def test_what_cannot_even_be_written_is_no_token():
    body, _, _ = GangTokens(SECRET).issue("job_1", 1, "chem").rpartition(".")
    with pytest.raises(UnauthenticatedError):
        GangTokens(SECRET).verify(f"{body}.\ud800")


@given(st.text())
def test_no_text_that_we_did_not_sign_is_a_token(text):
    with pytest.raises(UnauthenticatedError):
        GangTokens(SECRET).verify(text)


def test_a_token_ends_with_its_lifetime():
    clock = Clock()
    tokens = GangTokens(SECRET, clock)
    token = tokens.issue("job_1", 1, "chem", lifetime_s=60)
    clock.now += 60
    assert tokens.verify(token).job_id == "job_1"
    clock.now += 1
    with pytest.raises(UnauthenticatedError, match="expired"):
        tokens.verify(token)


def test_a_token_is_dead_when_its_attempt_is():
    tokens = GangTokens(SECRET)
    first, second = (tokens.issue("job_1", attempt, "chem") for attempt in (1, 2))
    tokens.set_liveness(lambda principal: principal.attempt == 2)
    assert tokens.verify(second).attempt == 2
    with pytest.raises(UnauthenticatedError, match="attempt 1 of job_1 is over"):
        tokens.verify(first)


def test_services_and_gangs_are_not_taken_for_each_other():
    gangs, services = GangTokens(SECRET), ServiceTokens(SECRET)
    token = services.issue("functions")
    assert services.authenticate(token) == Principal("functions", "service", project="")
    with pytest.raises(UnauthenticatedError):
        gangs.verify(token)
    with pytest.raises(UnauthenticatedError):
        services.authenticate(gangs.issue("job_1", 1, "chem"))


def test_signed_claims_come_back_as_they_were():
    tokens = SignedTokens(SECRET, Clock())
    claims = tokens.claims(tokens.sign({"a": [1, "ü"]}, 5))
    assert claims == {"a": [1, "ü"], "exp": 1005}


def test_token_and_secret_are_made_once_and_only_the_owner_may_read_them(tmp_path):
    for read in (read_or_create_token, read_or_create_secret):
        path = tmp_path / read.__name__
        first = read(path)
        assert read(path) == first
        assert len(first) >= 32
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_token_written_by_hand_may_end_its_line(tmp_path):
    (tmp_path / "token").write_text("mine\n")
    assert read_or_create_token(tmp_path / "token") == "mine"


def test_many_that_begin_at_once_agree_on_the_secret(tmp_path):
    script = (
        "import pathlib, sys; from gridloom_services.common.tokens import read_or_create_secret;"
        " sys.stdin.read(); print(read_or_create_secret(pathlib.Path(sys.argv[1])).hex())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "secret")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for process in processes:
        process.stdin.close()
    found = {process.stdout.read().strip() for process in processes}
    for process in processes:
        process.stdout.close()
        assert process.wait() == 0
    assert found == {(tmp_path / "secret").read_bytes().hex()}
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
