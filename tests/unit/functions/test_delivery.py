import pytest
from gridloom_services.functions.delivery import MESSAGE_CALLS, READY_BYTES, Delivery
from gridloom_services.functions.store.rows import OutputRow, ResultRow


def row(number, *values):
    values = values or (b"v",)
    return ResultRow(1, number, number, None, b"\x01" * len(values), values, 0, 0, 0.0)


@pytest.fixture
def woken():
    return []


@pytest.fixture
def delivery(woken):
    made = Delivery(committed=0)
    made.attach(0, lambda: woken.append(1))
    return made


def numbers(rows):
    return [each.number for each in rows]


def test_results_go_out_in_order_and_once(delivery, woken):
    delivery.offer([row(1), row(2)])
    delivery.offer([row(3)])
    assert woken == [1, 1]
    assert numbers(delivery.take()) == [1, 2, 3]
    assert delivery.take() == []
    assert delivery.sent == 3


def test_a_message_holds_a_bounded_number_of_results(delivery):
    delivery.offer([row(n, *[b""] * 1_000) for n in range(1, 21)])
    assert len(delivery.take()) == -(-MESSAGE_CALLS // 1_000)
    assert delivery.pending


def test_without_a_stream_nothing_is_kept(woken):
    delivery = Delivery(committed=0)
    delivery.offer([row(1)])
    assert not delivery.pending
    delivery.attach(0, lambda: woken.append(1))
    assert delivery.behind


def test_a_stream_that_has_confirmed_everything_is_not_behind():
    delivery = Delivery(committed=7)
    delivery.attach(7, lambda: None)
    assert not delivery.behind
    delivery.attach(6, lambda: None)
    assert delivery.behind


def test_what_is_too_much_for_memory_is_read_from_disk(delivery):
    large = READY_BYTES // 4
    for number in range(1, 7):
        delivery.offer([row(number, bytes(large))])
    assert delivery.behind
    assert delivery.take() == []
    delivery.was_read([row(1), row(2), row(3)], committed_before=6)
    assert delivery.behind
    delivery.was_read([row(4), row(5), row(6)], committed_before=6)
    assert not delivery.behind
    delivery.offer([row(7)])
    assert numbers(delivery.take()) == [7]


def test_what_is_committed_while_the_disk_is_read_is_not_left_out(delivery):
    delivery.offer([row(n, bytes(READY_BYTES)) for n in (1, 2)])
    delivery.offer([row(3)])
    delivery.was_read([row(1), row(2)], committed_before=2)
    assert delivery.behind
    delivery.was_read([row(3)], committed_before=3)
    assert not delivery.behind


def test_numbers_that_are_gone_from_disk_hold_nothing_up(delivery):
    delivery.offer([row(n, bytes(READY_BYTES)) for n in (1, 2)])
    delivery.was_read([], committed_before=2)
    assert not delivery.behind


def test_output_is_for_who_listens_now(delivery):
    output = OutputRow(1, 0, 0, 1, b"text")
    delivery.print([output])
    assert delivery.take_outputs() == [output]
    delivery.detach()
    delivery.print([output])
    assert delivery.take_outputs() == []


def test_output_for_a_slow_client_is_bounded(delivery):
    for _ in range(100):
        delivery.print([OutputRow(1, 0, 0, 1, bytes(1 << 20))])
    kept = 0
    while outputs := delivery.take_outputs():
        kept += len(outputs)
    assert kept <= 10
