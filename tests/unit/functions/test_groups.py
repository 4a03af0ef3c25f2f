from gridloom_services.functions.groups import Group
from gridloom_services.functions.store.rows import GroupRow


def group(**fields):
    counts = {"accepted": 0, "succeeded": 0, "failed": 0, "cancelled": 0, "sealed": False}
    times = {"created_at": 1.0, "ended_at": None}
    words = {"name": "", "kind": "map", "project": "p", "function": "f"}
    return Group(GroupRow(7, **{**words, **counts, **times, **fields}))


def test_offsets_count_items_in_the_order_of_acceptance():
    made = group()
    assert [made.admit(items) for items in (1, 10, 1)] == [0, 1, 11]


def test_items_are_counted_by_how_they_ended():
    made = group()
    made.admit(20)
    made.count(b"\x01\x01\x02\x04", 1, 5.0)
    made.count(b"\x01", 10, 5.0)
    made.count(b"\x08", 2, 5.0)
    assert (made.succeeded, made.failed, made.cancelled, made.finished) == (12, 3, 1, 16)


def test_it_ends_when_it_is_sealed_and_everything_has_its_result():
    made = group()
    made.admit(2)
    made.count(b"\x01\x01", 1, 5.0)
    assert made.ended_at is None
    made.seal(6.0)
    assert made.ended_at == 6.0


def test_a_sealed_group_ends_with_its_last_item():
    made = group()
    made.admit(2)
    made.seal(5.0)
    made.count(b"\x01", 1, 6.0)
    assert made.ended_at is None
    made.count(b"\x02", 1, 7.0)
    assert made.ended_at == 7.0


def test_an_empty_group_ends_when_it_is_sealed():
    made = group()
    made.seal(3.0)
    assert made.ended_at == 3.0


def test_what_is_stored_comes_back():
    row = group(accepted=5, succeeded=2, sealed=True, ended_at=9.0).row()
    assert Group(row).row() == row
