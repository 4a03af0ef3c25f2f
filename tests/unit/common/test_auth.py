from __future__ import annotations

import pytest
from gridloom_services.common.auth import (
    AuthenticatorChain,
    Principal,
    StaticTokenAuthenticator,
    current_principal,
    local_user,
    require_project,
    set_current_principal,
)
from gridloom_services.common.errors import PermissionDeniedError, UnauthenticatedError


def test_the_static_token_is_its_owners_and_no_other_is():
    ada = Principal("ada")
    authenticator = StaticTokenAuthenticator("right", ada)
    assert authenticator.authenticate("right") is ada
    for wrong in ("", "righ", "right ", "RIGHT", "wröng"):
        with pytest.raises(UnauthenticatedError):
            authenticator.authenticate(wrong)


def test_the_owner_is_whoever_runs_the_process_unless_named():
    assert StaticTokenAuthenticator("t").authenticate("t") == Principal(local_user())


def test_a_chain_asks_one_after_the_other():
    ada, eve = Principal("ada"), Principal("eve")
    chain = AuthenticatorChain(
        [StaticTokenAuthenticator("a", ada), StaticTokenAuthenticator("e", eve)]
    )
    assert [chain.authenticate(token) for token in "ae"] == [ada, eve]
    with pytest.raises(UnauthenticatedError):
        chain.authenticate("x")


def test_an_empty_chain_refuses_everybody():
    with pytest.raises(UnauthenticatedError):
        AuthenticatorChain([]).authenticate("a")


@pytest.mark.parametrize(
    ("caller", "asked", "project"),
    [
        (Principal("ada"), "", "default"),
        (Principal("ada", project="chem"), "", "chem"),
        (Principal("ada", project="chem"), "physics", "physics"),
        (Principal("functions", "service", project=""), "chem", "chem"),
        (Principal("functions", "service", project=""), "", "default"),
        (Principal("job_1", "gang", "chem", "job_1", 1), "", "chem"),
        (Principal("job_1", "gang", "chem", "job_1", 1), "chem", "chem"),
    ],
)
def test_the_project_is_the_one_asked_for_else_the_callers(caller, asked, project):
    set_current_principal(caller)
    assert current_principal() is caller
    assert require_project(asked) == project


def test_a_gang_acts_in_no_project_but_its_own():
    set_current_principal(Principal("job_1", "gang", "chem", "job_1", 1))
    with pytest.raises(PermissionDeniedError, match='job_1 acts in project "chem", not "physics"'):
        require_project("physics")
