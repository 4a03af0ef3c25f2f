"""Growable columns and the numbers of resources."""

from __future__ import annotations

from typing import ClassVar

import pytest
from gridloom_services.scheduler.engine.columns import Resources, Table
from gridloom_services.scheduler.engine.errors import EngineError
from gridloom_services.scheduler.engine.events import MAX_AMOUNT


class Pairs(Table):
    fields: ClassVar = ("left", "right")


def test_rows_keep_their_cells_while_the_table_grows():
    table = Pairs()
    for number in range(1000):
        row = table.take()
        table.left[row], table.right[row] = number, -number
    assert table.array("left").tolist() == list(range(1000))
    assert table.array("right").tolist() == [-number for number in range(1000)]


def test_a_row_that_was_given_back_is_used_again_and_is_zero():
    table = Pairs()
    row = table.take()
    table.left[row] = 7
    table.give(row)
    assert table.take() == row
    assert table.left[row] == 0
    assert table.size == 1


def test_a_new_resource_name_widens_every_block_of_amounts():
    resources = Resources()
    block = resources.block()
    resources.number("cpu")
    block.views[0][3] = 5
    assert resources.number("licence") == 1
    assert [view[3] for view in block.views] == [5, 0]
    assert resources.block().data.shape[0] == 2


def test_amounts_are_kept_by_number_without_zeros():
    resources = Resources()
    resources.number("cpu")
    need = resources.need({"memory": 4, "x.io/gpu": 0, "cpu": 2})
    assert need == ((0, 2), (1, 4))
    assert resources.named(need) == {"cpu": 2, "memory": 4}


@pytest.mark.parametrize("amount", [-1, MAX_AMOUNT + 1])
def test_an_absurd_amount_is_refused_by_name(amount):
    with pytest.raises(EngineError, match="'memory'"):
        Resources().need({"memory": amount})
