from __future__ import annotations

import pytest
from gridloom_services.common.auth import (
    Admission,
    AuthenticatorChain,
    Principal,
    StaticTokenAuthenticator,
    administrator,
    current_admission,
    current_principal,
    local_user,
    project_to_look_at,
    require_project,
    set_current_admission,
    set_current_principal,
)
from gridloom_services.common.errors import PermissionDeniedError, UnauthenticatedError
from gridloom_services.common.permissions import Rule, Scope
from gridloom_services.common.roles import Role

READ = Rule(Role.VIEWER)
CANCEL = Rule(Role.SUBMITTER, others=Role.OPERATOR)
GANG = Principal("ada", "gang", "chem", "job_1", 1)
SERVICE = Principal("functions", "service", project="")


def user(role: Role, project: str = "chem", **more) -> Principal:
    return Principal("ada", project=project, role=role, **more)


def test_the_static_token_is_its_owners_and_no_other_is():
    ada = Principal("ada")
    authenticator = StaticTokenAuthenticator("right", ada)
    assert authenticator.authenticate("right") is ada
    for wrong in ("", "righ", "right ", "RIGHT", "wröng"):
        with pytest.raises(UnauthenticatedError):
            authenticator.authenticate(wrong)


def test_the_owner_is_whoever_runs_the_process_and_may_do_everything_unless_named():
    owner = StaticTokenAuthenticator("t").authenticate("t")
    assert owner == administrator(local_user())
    assert owner.role_in("any") is owner.role_in("*") is Role.ADMIN


def test_who_was_given_no_role_has_none():
    assert Principal("ada").role_in("default") is Role.NONE


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
        (administrator("ada"), "", "default"),
        (administrator("ada"), "physics", "physics"),
        (user(Role.VIEWER), "", "chem"),
        (user(Role.VIEWER), "chem", "chem"),
        (SERVICE, "chem", "chem"),
        (SERVICE, "", "default"),
        (GANG, "", "chem"),
        (GANG, "chem", "chem"),
    ],
)
def test_the_project_is_the_one_asked_for_else_the_callers(caller, asked, project):
    set_current_principal(caller, READ)
    assert current_principal() is caller
    assert require_project(asked) == project
    assert current_admission().project == project


def test_a_gang_acts_in_no_project_but_its_own():
    set_current_principal(GANG)
    with pytest.raises(PermissionDeniedError, match='job_1 acts in project "chem", not "physics"'):
        require_project("physics")


@pytest.mark.parametrize(
    ("role", "owner", "is_allowed"),
    [
        (Role.VIEWER, "ada", False),
        (Role.SUBMITTER, "ada", True),
        (Role.SUBMITTER, None, True),
        (Role.SUBMITTER, "bob", False),
        (Role.OPERATOR, "bob", True),
        (Role.ADMIN, "bob", True),
    ],
)
def test_what_is_ones_own_takes_less_than_what_is_others(role, owner, is_allowed):
    set_current_principal(user(role), CANCEL)
    try:
        require_project("chem", owner=owner)
    except PermissionDeniedError:
        assert not is_allowed
    else:
        assert is_allowed


@pytest.mark.parametrize(
    ("caller", "project", "sentence"),
    [
        (
            user(Role.VIEWER, key_id="k1"),
            "chem",
            'in project "chem"; ada (key k1) has "viewer" there',
        ),
        (
            user(Role.ADMIN),
            "physics",
            'in project "physics"; ada has "admin" in project "chem" only',
        ),
        (
            Principal("eve"),
            "chem",
            'in project "chem"; eve has none',
        ),
    ],
)
def test_a_refusal_says_which_role_is_missing_where_and_which_one_has(caller, project, sentence):
    set_current_admission(Admission(caller, CANCEL, "CancelJobs"))
    with pytest.raises(PermissionDeniedError) as caught:
        require_project(project, owner="bob")
    assert caught.value.message == f'CancelJobs needs the role "operator" {sentence}'
    assert caught.value.details["role"] == "operator"
    assert caught.value.details["project"] == project
    assert caught.value.details["has"] == caller.role_in(project).word


def test_whoever_has_too_little_anywhere_is_refused_before_the_project_is_known():
    with pytest.raises(PermissionDeniedError, match='needs the role "submitter"'):
        Admission(user(Role.VIEWER), CANCEL, "CancelJobs").check_entry()
    Admission(user(Role.SUBMITTER), CANCEL, "CancelJobs").check_entry()


def test_a_projects_admin_is_not_the_platforms():
    rule = Rule(Role.ADMIN, Scope.PLATFORM)
    with pytest.raises(PermissionDeniedError, match="in every project"):
        Admission(user(Role.ADMIN), rule, "ReleaseObjects").check_entry()
    Admission(administrator("root"), rule, "ReleaseObjects").check_entry()


@pytest.mark.parametrize("scope", [Scope.SERVICES, Scope.GANGS])
def test_what_is_for_services_or_gangs_is_for_no_person(scope):
    rule = Rule(Role.ADMIN, scope)
    with pytest.raises(PermissionDeniedError, match="only"):
        Admission(administrator("root"), rule, "VerifyKeys").check_entry()
    Admission(SERVICE, rule, "VerifyKeys").check_entry()


def test_a_call_is_settled_when_somebody_has_looked_at_its_project():
    admission = Admission(user(Role.VIEWER), READ, "ListJobs")
    set_current_admission(admission)
    assert not admission.is_settled
    require_project("chem")
    assert admission.is_settled
    assert Admission(GANG, READ).is_settled
    assert Admission(user(Role.VIEWER), Rule(Role.VIEWER, Scope.ANYWHERE)).is_settled


def test_who_sees_one_project_and_names_none_looks_at_that_one():
    set_current_principal(user(Role.VIEWER), READ)
    assert project_to_look_at("") == "chem"
    with pytest.raises(PermissionDeniedError):
        project_to_look_at("physics")
    set_current_principal(user(Role.VIEWER, "default", is_everywhere=True), READ)
    assert project_to_look_at("") == ""
    assert project_to_look_at("physics") == "physics"
    set_current_principal(GANG)
    assert project_to_look_at("physics") == "chem"
    set_current_principal(SERVICE)
    assert project_to_look_at("") == ""
