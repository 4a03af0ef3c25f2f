"""Chains, groups, chords and chunks: planned, run here, and run there."""

from __future__ import annotations

import asyncio
import concurrent.futures

import gridloom
import pytest
from gridloom.calls.signature import Signature
from gridloom.errors import CancelledError, InvalidRequestError


@gridloom.function
def add(a, b):
    return a + b


@gridloom.function
def double(x):
    return 2 * x


@gridloom.function(name="total")
def total(values):
    return sum(values)


@gridloom.function
def fail(_):
    raise KeyError("broken")


@gridloom.function
def constant():
    return 7


def calls_of(workflow, *args):
    """What the plan says: function, own arguments, what it needs."""
    return [(c.function.name, c.args, c.needs) for c in workflow.plan(args).calls]


def test_signatures_are_values_that_never_change():
    signature = add.s(1)
    signature.options(retries=3)
    assert signature == Signature(add, (1,))
    with pytest.raises(AttributeError):
        signature.args = (2,)
    assert repr(add.s(1, b=2)) == "add(1, b=2)"


def test_a_chain_hands_each_result_to_the_next():
    plan = (add.s(1, 2) | double.s() | add.s(10)).plan()
    assert [(c.function.name, c.args, c.needs) for c in plan.calls] == [
        ("add", (1, 2), None),
        ("double", (), 0),
        ("add", (10,), 1),
    ]
    assert plan.result == 2


def test_arguments_of_submit_go_before_those_of_the_first_part():
    assert calls_of(gridloom.chain(add.s(2), double.s()), 5)[0] == ("add", (5, 2), None)
    assert calls_of(constant.si(), 5)[0] == ("constant", (), None)


def test_a_group_in_a_chain_fans_out_and_in():
    workflow = gridloom.chain(double.s(3), gridloom.group(add.s(1), add.s(2)), total.s())
    assert [needs for *_, needs in calls_of(workflow)] == [None, 0, 0, [1, 2]]
    assert workflow.plan().result == 3


def test_a_chord_waits_for_its_header():
    plan = gridloom.chord([double.s(n) for n in range(3)], total.s()).plan()
    assert plan.calls[-1].needs == [0, 1, 2]


def test_nested_groups_give_nested_lists():
    workflow = gridloom.group(double.s(1), gridloom.group(double.s(2), double.s(3)))
    assert workflow.plan().result == [0, [1, 2]]
    assert workflow() == [2, [4, 6]]


def test_an_immutable_signature_waits_and_takes_nothing():
    workflow = gridloom.chain(double.s(3), constant.si(), add.s(1))
    assert workflow() == 8
    assert [needs for *_, needs in calls_of(workflow)] == [None, 0, 1]


def test_chunks_put_several_sets_of_arguments_in_a_call():
    chunks = add.chunks([(1, 2), (3, 4), (5, 6)], 2)
    assert len(chunks.plan().calls) == 2
    assert chunks() == [[3, 7], [11]]
    assert gridloom.chunks(add, [(1, 2)], 5)() == [[3]]


def test_chunks_of_what_are_no_tuples_are_refused_by_number():
    with pytest.raises(InvalidRequestError, match=r"number 1 is 7"):
        double.chunks([(1,), 7], 2)
    with pytest.raises(InvalidRequestError, match="size cannot be 0"):
        double.chunks([(1,)], 0)


def test_workflows_run_here_when_they_are_called():
    assert gridloom.chord([double.s(n) for n in range(4)], total.s())() == 12
    assert (add.s(1, 2) | double.s())() == 6


@pytest.mark.parametrize(
    "wrong",
    [
        gridloom.chain,
        lambda: gridloom.chain(add),
        lambda: gridloom.group(3, 4),
        lambda: gridloom.chord([double.s(1)], total),
        lambda: double.s(1) | total,
    ],
)
def test_what_is_no_signature_is_refused(wrong):
    with pytest.raises(TypeError):
        wrong()


@pytest.mark.usefixtures("client")
class TestThere:
    def test_a_chain_s_inner_results_go_from_worker_to_worker(self, service):
        service.hold()
        future = (add.s(1, 2) | double.s() | add.s(10)).submit()
        service.wait_for(lambda: service.session().last == 3)
        name = service.session().name
        assert [service.session().calls[n].needs for n in (1, 2, 3)] == [
            [],
            [(name, 1)],
            [(name, 2)],
        ]
        service.running.set()
        assert future.result(10) == 16

    def test_a_chord_gives_the_value_of_its_body(self):
        study = gridloom.chord([double.s(n) for n in range(20)], total.s()).submit()
        assert study.result(10) == 380
        assert isinstance(study, concurrent.futures.Future)

    def test_a_group_gives_the_list_of_its_results(self):
        assert gridloom.group(double.s(n) for n in range(5)).submit().result(10) == [0, 2, 4, 6, 8]

    def test_an_empty_group_is_an_empty_list(self):
        assert gridloom.group([]).submit().result(10) == []
        assert gridloom.chord([], total.s()).submit().result(10) == 0

    def test_workflows_nest(self):
        inner = gridloom.chord([double.s(1), double.s(2)], total.s())
        workflow = gridloom.chain(gridloom.group(inner, add.s(1, 1)), total.s(), double.s())
        assert workflow.submit().result(10) == 16

    def test_chunks_there(self):
        assert add.chunks([(n, n) for n in range(5)], 2).submit().result(10) == [
            [0, 2],
            [4, 6],
            [8],
        ]

    def test_a_signature_alone_is_a_call(self):
        assert add.s(1).submit(5).result(10) == 6

    def test_a_failure_inside_is_the_failure_of_the_whole(self):
        future = gridloom.chain(double.s(1), fail.s(), double.s()).submit()
        with pytest.raises(KeyError, match="broken"):
            future.result(10)
        assert isinstance(future.exception(), KeyError)

    def test_a_group_fails_as_soon_as_one_of_it_fails(self, service):
        service.script.acknowledge = True
        future = gridloom.group(fail.s(1), double.s(1)).submit()
        with pytest.raises(KeyError):
            future.result(10)

    def test_cancelling_the_future_cancels_all_of_it(self, service):
        service.hold()
        future = gridloom.chain(double.s(1), double.s(), double.s()).submit()
        service.wait_for(lambda: service.session().last == 3)
        assert future.cancel()
        service.wait_for(lambda: all(c.done for c in service.session().calls.values()))
        with pytest.raises((CancelledError, concurrent.futures.CancelledError)):
            future.result(10)

    def test_one_group_holds_the_whole_and_is_sealed(self, service):
        future = gridloom.chord([double.s(1), double.s(2)], total.s()).submit()
        future.result(10)
        (group,) = service.session().groups.values()
        assert (group.kind, group.name) == ("chord 2", "total")
        service.wait_for(lambda: service.session().sealed == {1})

    def test_the_whole_is_read_again_by_its_id(self, client):
        for workflow, expected in (
            (gridloom.group(double.s(1), gridloom.group(double.s(2))), [2, [4]]),
            (gridloom.chord([double.s(1), double.s(2)], total.s()), 6),
        ):
            future = workflow.submit()
            assert client.get(future.id).result(10) == expected

    def test_as_an_argument_it_is_its_result(self, client):
        parts = gridloom.group(double.s(1), double.s(2)).submit()
        assert client.submit(total, parts).result(10) == 6
        assert client.submit(total, parts).result(10) == 6


async def test_a_workflow_is_awaited(client):
    del client
    future = gridloom.chord([double.s(n) for n in range(4)], total.s()).submit()
    assert await future == 12
    assert await asyncio.gather(gridloom.group(double.s(1)).submit()) == [[2]]


@pytest.mark.parametrize("word", [gridloom.chain, gridloom.group])
@pytest.mark.parametrize("wrong", [add, None, 7])
def test_what_is_no_signature_is_refused_by_what_it_is(word, wrong):
    with pytest.raises(TypeError, match="takes signatures such as"):
        word(wrong)
