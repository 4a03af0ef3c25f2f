"""How long the client of an open group is waited for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gridloom_services.common.errors import IncompleteError
from gridloom_services.functions.attendance import Attendance
from gridloom_services.functions.call import stored_id
from gridloom_services.functions.session import Session
from gridloom_services.functions.store.rows import GroupRow, SessionRow

OPEN = GroupRow(
    *(stored_id(1, 3), "study", "map", "default", "f", 5, 3, 1, 1),
    sealed=False,
    created_at=0.0,
    ended_at=None,
)


class World:
    """A session that was seen last at 100, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        row = SessionRow(1, b"k" * 16, "name", "default", "ada", "", created_at=0.0, seen_at=100.0)
        self.session = Session(row)
        self.attendance = Attendance(10.0, lambda: self.now)


@pytest.fixture
def world():
    return World()


def test_a_client_that_is_there_is_not_waited_for(world):
    world.session.delivery.attach(0, lambda: None)
    world.now = 1e6
    assert world.attendance.awaited_s(world.session) is None
    assert not world.attendance.is_abandoned(world.session, OPEN)


def test_a_client_that_went_is_waited_for_from_then_on(world):
    world.now = 104.0
    assert world.attendance.awaited_s(world.session) == 6.0
    world.now = 110.0
    assert world.attendance.awaited_s(world.session) == 0


def test_the_count_begins_anew_with_the_service(world):
    world.now = 200.0
    world.attendance.begin()
    assert world.attendance.awaited_s(world.session) == 10.0


def test_only_an_open_group_is_abandoned(world):
    world.now = 110.0
    assert world.attendance.is_abandoned(world.session, OPEN)
    sealed = replace(OPEN, sealed=True)
    assert not world.attendance.is_abandoned(world.session, sealed)
    assert world.attendance.reason(world.session, sealed) == ""


def test_readers_are_told_when_all_that_was_accepted_is_done(world):
    world.now = 110.0
    world.attendance.check(world.session, replace(OPEN, accepted=6))
    with pytest.raises(IncompleteError, match="group_name_3 went away") as caught:
        world.attendance.check(world.session, OPEN)
    assert caught.value.details == {"group_id": "group_name_3", "accepted": "5", "done": "5"}
