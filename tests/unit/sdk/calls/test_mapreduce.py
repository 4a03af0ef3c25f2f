"""Map and fold on the workers."""

from __future__ import annotations

import functools
import itertools
import operator

import gridloom
import pytest
from gridloom.errors import InvalidRequestError

pytestmark = pytest.mark.usefixtures("client")


@gridloom.function
def square(x):
    return x * x


@gridloom.function
def text(x):
    return str(x)


@gridloom.function
async def awaited(x):
    return x


@gridloom.function
def picky(x):
    if x == 7:
        raise ValueError(x)
    return x


class Scaled:
    def __init__(self, by):
        self.by = by

    @gridloom.function
    def value(self, x):
        return self.by * x


def test_it_is_the_sum_that_functools_gives():
    assert square.map_reduce(range(500), reduce=operator.add, initial=0) == sum(
        n * n for n in range(500)
    )


def test_the_order_of_the_items_is_kept():
    expected = functools.reduce(operator.add, map(str, range(300)), ">")
    assert text.map_reduce(range(300), reduce=operator.add, initial=">") == expected


def test_without_an_initial_value_the_first_item_begins():
    assert text.map_reduce([1, 2, 3], reduce=operator.add) == "123"
    assert square.map_reduce([5], reduce=operator.add) == 25


def test_nothing_gives_the_initial_value_or_an_error():
    assert square.map_reduce([], reduce=operator.add, initial=9) == 9
    with pytest.raises(TypeError, match="no initial value"):
        square.map_reduce([], reduce=operator.add)


def test_no_value_of_an_item_comes_here(service):
    square.map_reduce(range(200), reduce=operator.add, chunk_size=10)
    assert service.session().last == 20 + 2 + 1  # chunks, full folds, the last one


def test_sources_may_be_generators_and_several():
    assert square.map_reduce((n for n in range(50)), reduce=max, initial=-1) == max(
        n * n for n in range(50)
    )
    pairs = gridloom.function(operator.mul)
    assert pairs.map_reduce([1, 2], itertools.count(3), reduce=operator.add) == 3 + 8


def test_async_functions_and_methods_too():
    assert awaited.map_reduce(range(20), reduce=operator.add) == 190
    assert Scaled(3).value.map_reduce(range(4), reduce=operator.add) == 18


def test_an_item_s_error_is_raised():
    with pytest.raises(ValueError, match="7"):
        picky.map_reduce(range(20), reduce=operator.add, initial=0)


def test_the_source_s_error_is_raised_and_nothing_goes_on():
    def source():
        yield 1
        raise OSError("source")

    with pytest.raises(OSError, match="source"):
        square.map_reduce(source(), reduce=operator.add)


def test_wrong_words_are_refused():
    with pytest.raises(TypeError, match="reduce="):
        square.map_reduce([1])
    with pytest.raises(InvalidRequestError, match='did you mean "reduce"'):
        square.map_reduce([1], reduse=operator.add)


def test_the_group_is_sealed_and_can_be_read_again(client, service):
    assert square.map_reduce(range(30), reduce=operator.add) == 8555
    service.wait_for(lambda: service.session().sealed)
    (number,) = service.session().groups
    assert client.get(f"group_{service.session().name}_{number}").result(10) == 8555
