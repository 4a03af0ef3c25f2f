from __future__ import annotations

import os
import re

import pytest
from gridloom import ids
from gridloom.errors import InvalidRequestError
from hypothesis import given
from hypothesis import strategies as st

JOB = "job_" + "0" * 26


def test_an_id_has_its_kind_and_26_characters():
    assert re.fullmatch(r"job_[0-9a-hjkmnp-tv-z]{26}", ids.new_id("job"))
    assert ids.kind_of(ids.new_id("pool")) == "pool"


def test_ids_sort_in_the_order_in_which_they_were_made():
    made = [ids.new_id("job") for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_a_forked_child_makes_other_ids_than_its_parent():
    read, write = os.pipe()
    ids.new_id("job")
    child = os.fork()
    if child == 0:
        os.write(write, "".join(ids.new_id("job") for _ in range(20)).encode())
        os._exit(0)
    ours = [ids.new_id("job") for _ in range(20)]
    os.waitpid(child, 0)
    theirs = os.read(read, 20 * 30).decode()
    os.close(read)
    os.close(write)
    assert len(theirs) == 600
    assert not set(ours) & {theirs[i : i + 30] for i in range(0, 600, 30)}


def test_an_element_is_told_from_its_job():
    assert ids.split_job_id(JOB) == (JOB, None)
    assert ids.split_job_id(ids.element_id(JOB, 7)) == (JOB, 7)


@given(st.binary(min_size=16, max_size=16), st.integers(1, 2**63 - 1))
def test_calls_and_groups_are_taken_apart_as_they_were_put_together(key: bytes, number: int):
    session = ids.session_name(key)
    assert len(session) == 16
    assert ids.split_call_id(ids.call_id(session, number)) == (session, number)
    assert ids.split_group_id(ids.group_id(session, number)) == (session, number)
    assert ids.kind_of(ids.call_id(session, number)) == "call"
    assert ids.kind_of(ids.group_id(session, number)) == "group"


@pytest.mark.parametrize("wrong", ["", "job_", "job_1", JOB + "x", JOB + ".", "call_abc_1", "mail"])
def test_what_is_not_an_id_is_refused_naming_what_ids_look_like(wrong: str):
    with pytest.raises(InvalidRequestError) as refusal:
        ids.kind_of(wrong)
    assert refusal.value.given == wrong
    assert "job_..." in refusal.value.allowed


def test_one_kind_of_id_is_not_taken_for_another():
    call = ids.call_id("a" * 16, 1)
    with pytest.raises(InvalidRequestError, match="is not a job's id"):
        ids.split_job_id(call)
    with pytest.raises(InvalidRequestError, match="is not a group's id"):
        ids.split_group_id(call)
