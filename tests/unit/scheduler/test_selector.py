from __future__ import annotations

import pytest
from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.scheduler.selector import parse_selector

LABELS = {"study": "a", "step": "3", "team/site": "x", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        ("", True),
        ("study=a", True),
        ("study==a", True),
        ("study = a , step=3", True),
        ("study=b", False),
        ("study!=b", True),
        ("study!=a", False),
        ("absent!=b", True),
        ("study", True),
        ("absent", False),
        ("!absent", True),
        ("! study", False),
        ("study in (a, b)", True),
        ("study in (b,c)", False),
        ("absent in (a)", False),
        ("study notin (b, c)", True),
        ("study notin (a)", False),
        ("absent notin (a)", True),
        ("team/site=x,study in (a),!absent,step!=4", True),
        ("empty=", True),
        ("study=", False),
    ],
)
def test_a_selector_means_what_it_means_to_kubectl(selector: str, *, holds: bool):
    requirements = parse_selector(selector)
    assert all(each.holds(LABELS) for each in requirements) is holds


@pytest.mark.parametrize(
    "selector",
    ["a b", "=a", "a=b=c", "a in x", "a in (x", "a,", ",a", "a,,b", "!a=b", "a=-", "-a=b", "a=b c"],
)
def test_a_malformed_selector_is_refused_with_the_syntax(selector: str):
    with pytest.raises(InvalidRequestError) as refusal:
        parse_selector(selector)
    assert refusal.value.details["field"] == "label_selector"
    assert refusal.value.details["given"] == selector
    assert "notin" in refusal.value.details["allowed"]
