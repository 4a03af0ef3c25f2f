"""The table of who may call what is whole: a method without a row fails here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf.message_factory import GetMessageClass
from gridloom_services.common.interceptors.audit import names_at
from gridloom_services.common.permissions import RULES, Rule, Scope
from gridloom_services.common.roles import Role

ROOT = Path(__file__).resolve().parents[3]


# Spoken among the processes of one gang, which check each other themselves: no service serves it.
WITHIN_GANGS = {"gridloom.api.mpi.v1.RankAgentService"}


def methods():
    """Every method of every contract with a service of the platform."""
    for proto in sorted((ROOT / "proto").rglob("*.proto")):
        inside = proto.relative_to(ROOT / "proto").with_suffix("")
        module = import_module(".".join(inside.parts) + "_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            if service.full_name in WITHIN_GANGS:
                continue
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


METHODS = dict(methods())
CHANGES = [path for path, rule in RULES.items() if rule.action]
# Streams in which the audit log finds nothing to keep, or whose service names what is changed.
BY_HAND = {"/gridloom.api.scheduler.v1.SchedulerService/ExecJob"}


@pytest.mark.parametrize("path", METHODS)
def test_each_method_has_a_row(path):
    assert path in RULES, f"who may call {path}? Add it to common/permissions.py"


def test_each_row_is_a_method_of_some_contract():
    ours = {path for path in RULES if path.startswith("/gridloom.")}
    assert ours == METHODS.keys()


@pytest.mark.parametrize("path", CHANGES)
def test_what_the_audit_log_calls_changed_are_fields_that_there_are(path):
    method, rule = METHODS[path], RULES[path]
    if path in BY_HAND:
        return
    request, answer = (GetMessageClass(kind)() for kind in (method.input_type, method.output_type))
    for message, fields in ((request, rule.asked), (answer, rule.made)):
        for field in fields:
            assert list(names_at(message, field)) == []
    assert rule.asked or rule.made


def test_actions_have_names_of_their_own():
    actions = [RULES[path].action for path in CHANGES]
    assert len(set(actions)) == len(actions)


@pytest.mark.parametrize("path", METHODS)
def test_a_method_that_changes_something_takes_more_than_a_viewer_or_is_about_keys(path):
    rule = RULES[path]
    if rule.action and not rule.action.startswith("key."):
        assert rule.role >= Role.SUBMITTER


def test_the_work_of_others_never_takes_less_than_ones_own():
    assert all(rule.others is None or rule.others > rule.role for rule in RULES.values())
    rule = Rule(Role.VIEWER, Scope.PROJECT, others=Role.ADMIN)
    assert rule.role_for(is_own=True) is Role.VIEWER
    assert rule.role_for(is_own=False) is Role.ADMIN
