from __future__ import annotations

import pytest
from gridloom.errors import InvalidRequestError
from gridloom.options import check_choice, check_options


def test_a_misspelt_option_is_refused_with_the_nearest_one():
    with pytest.raises(InvalidRequestError) as refusal:
        check_options(["memory", "cpu"], ["cpus", "memory", "gpus"])
    assert str(refusal.value) == 'unknown option "cpu"; did you mean "cpus"?'
    assert refusal.value.field == "cpu"
    assert refusal.value.allowed == "cpus, gpus, memory"


def test_an_option_like_no_other_is_refused_with_all_there_are():
    with pytest.raises(InvalidRequestError, match="options are: cpus, memory"):
        check_options(["zzz"], ["cpus", "memory"])


def test_known_options_pass():
    check_options(["cpus"], ["cpus", "memory"])


def test_a_wrong_choice_names_the_right_ones():
    with pytest.raises(InvalidRequestError, match='state cannot be "RUNING"; did you mean'):
        check_choice("state", "RUNING", ["RUNNING", "FAILED"])
    with pytest.raises(InvalidRequestError, match="use one of: a, b"):
        check_choice("stream", "x", ["a", "b"])
