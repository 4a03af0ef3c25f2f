from __future__ import annotations

import pytest
from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.scheduler.history import history
from gridloom_services.scheduler.paging import page_size, read_token, write_token

from tests.support.scheduler import Platform, a_spec, an_array


def test_a_token_means_its_place():
    assert read_token(write_token(b"question", 7, -1), b"question", 2) == (7, -1)


def test_no_token_means_the_beginning():
    assert read_token("", b"question", 1) is None


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("nonsense!", "is no token"),
        ("bm9uc2Vuc2U=", "is no token"),
        ("e30=", "is no token"),
        ("\N{SNOWMAN}", "is no token"),
        (write_token(b"other", 7), "belongs to another filter"),
        (write_token(b"question", 7, 8), "is no token"),
    ],
)
def test_any_other_token_is_refused(token: str, why: str):
    with pytest.raises(InvalidRequestError, match=why) as caught:
        read_token(token, b"question", 1)
    assert caught.value.details["field"] == "page_token"


def test_a_page_has_a_size_within_limits():
    assert page_size(0) == 100
    assert page_size(1000) == 1000
    for size in (-1, 1001):
        with pytest.raises(InvalidRequestError, match="page_size"):
            page_size(size)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_history_comes_whole_by_pages_of_any_size(platform: Platform, size: int):
    (job_id,) = await platform.submit(a_spec(array=an_array(5)))
    (target,) = await platform.control.targets([job_id])
    found, place = [], None
    while True:
        page = await history(platform.store, target, place, size)
        assert len(page.events) <= size
        found += page.events
        if page.next is None:
            break
        place = page.next
    whole = await history(platform.store, target, None, 1000)
    assert found == whole.events
    starting = [each.element for each in found if each.after.name == "STARTING"]
    assert sorted(starting, key=str) == [0, 1, 2, 3, None]
    assert all(each.count == 1 for each in found)


async def test_an_elements_history_names_it_alone(platform: Platform):
    (job_id,) = await platform.submit(a_spec(array=an_array(5)))
    (target,) = await platform.control.targets([f"{job_id}.2"])
    page = await history(platform.store, target, None, 100)
    assert [(each.element, each.after.name) for each in page.events] == [
        (None, "QUEUED"),
        (2, "STARTING"),
        (2, "RUNNING"),
    ]
