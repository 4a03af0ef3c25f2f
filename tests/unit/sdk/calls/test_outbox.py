"""The sending half of a session, without threads or gRPC."""

from __future__ import annotations

import threading
import time

import pytest
from gridloom.api.functions.v1 import session_pb2
from gridloom.calls.outbox import FRAME_CALLS, Extras, Outbox


class Result:
    """A sink that keeps what it is given."""

    def __init__(self, *, is_over: bool = False, session: str = "mine", number: int = 0) -> None:
        self.is_over = is_over
        self._sequence = number
        self.session = session

    @property
    def address(self) -> tuple[str, int]:
        return self.session, self._sequence

    def deliver(self, status: int, value: bytes) -> bool:
        raise NotImplementedError

    def fail(self, error: BaseException) -> bool:
        raise NotImplementedError


@pytest.fixture
def outbox() -> Outbox:
    return Outbox("mine")


def put(outbox: Outbox, *arguments: bytes, spec: int = 1) -> None:
    for one in arguments:
        assert outbox.put(spec, one, Result())


def test_calls_are_numbered_from_one_in_the_order_they_are_put(outbox):
    sinks = [Result() for _ in range(3)]
    for sink in sinks:
        outbox.put(1, b"x", sink)
    assert [sink._sequence for sink in sinks] == [1, 2, 3]
    assert outbox.pending == {1: sinks[0], 2: sinks[1], 3: sinks[2]}


def test_what_waits_leaves_in_one_message(outbox):
    put(outbox, b"a", b"b", b"c")
    message = outbox.take()
    (frame,) = message.frames
    assert (frame.first_sequence, list(frame.arguments)) == (1, [b"a", b"b", b"c"])
    assert not frame.items


def test_calls_of_different_specs_go_in_frames_of_their_own(outbox):
    put(outbox, b"a", b"b")
    put(outbox, b"c", spec=2)
    put(outbox, b"d")
    frames = outbox.take().frames
    assert [(f.first_sequence, f.spec, list(f.arguments)) for f in frames] == [
        (1, 1, [b"a", b"b"]),
        (3, 2, [b"c"]),
        (4, 1, [b"d"]),
    ]


def test_chunks_and_plain_calls_never_share_a_frame(outbox):
    outbox.put(1, b"a", Result(), Extras(items=3))
    outbox.put(1, b"b", Result(), Extras(items=2))
    put(outbox, b"c")
    chunks, plain = outbox.take().frames
    assert list(chunks.items) == [3, 2]
    assert list(plain.items) == []


def test_dependencies_name_their_session_only_where_it_is_another(outbox):
    needs = (Result(number=7), Result(session="other", number=9))
    outbox.put(1, b"a", Result(), Extras(dependencies=needs, objects=("sha256:1",)))
    (frame,) = outbox.take().frames
    (needed,) = frame.dependencies
    assert [(c.session, c.sequence) for c in needed.calls] == [("", 7), ("other", 9)]
    assert [(o.position, list(o.digests)) for o in frame.objects] == [(0, ["sha256:1"])]


def test_a_call_whose_dependency_has_ended_is_not_sent(outbox):
    assert not outbox.put(1, b"a", Result(), Extras(dependencies=(Result(is_over=True),)))
    assert outbox.last == 0


def test_a_message_holds_one_frame_of_calls_at_most(outbox):
    put(outbox, *[b"x"] * (FRAME_CALLS + 1))
    assert len(outbox.take().frames[0].arguments) == FRAME_CALLS
    assert outbox.take().frames[0].first_sequence == FRAME_CALLS + 1


def test_a_message_ends_when_it_is_large(outbox):
    put(outbox, bytes(600_000), bytes(600_000), b"x")
    assert len(outbox.take().frames[0].arguments) == 2


def test_frames_are_kept_until_they_are_acknowledged(outbox):
    put(outbox, b"a")
    outbox.take()
    put(outbox, b"b")
    outbox.take()
    outbox.acknowledge(1)
    sent_again = [frame for message in outbox.unacknowledged() for frame in message.frames]
    assert [list(frame.arguments) for frame in sent_again] == [[b"b"]]


def test_a_new_stream_hears_definitions_before_frames_and_seals_after_them(outbox):
    outbox.spoken.functions[b"d"] = session_pb2.FunctionDefinition(digest=b"d")
    outbox.spoken.specs[1] = session_pb2.CallSpec(number=1, group=4)
    outbox.spoken.groups[4] = session_pb2.GroupDefinition(number=4)
    put(outbox, b"a")
    outbox.take()
    outbox.spoken.seals[4] = 1
    functions, before, frames, after = outbox.unacknowledged()
    assert functions.functions
    assert before.specs
    assert before.groups
    assert frames.frames
    assert [seal.number for seal in after.seals] == [4]


def test_definitions_are_said_again_in_messages_of_a_moderate_size(outbox):
    for number in range(5):
        digest = bytes([number])
        code = bytes(400_000)
        outbox.spoken.functions[digest] = session_pb2.FunctionDefinition(digest=digest, code=code)
    messages = outbox.unacknowledged()
    assert [len(message.functions) for message in messages if message.functions] == [3, 2]


def test_a_new_stream_does_not_hear_a_seal_before_the_calls_that_still_wait(outbox):
    put(outbox, b"a")
    outbox.take()
    put(outbox, b"b")  # while there was no stream
    outbox.spoken.seals[4] = 2
    outbox.control(lambda message: message.seals.add(number=4))
    assert not outbox.unacknowledged()[-1].seals
    message = outbox.take()
    assert [frame.first_sequence for frame in message.frames] == [2]
    assert [seal.number for seal in message.seals] == [4]
    assert [seal.number for seal in outbox.unacknowledged()[-1].seals] == [4]


def test_a_sealed_group_is_forgotten_once_a_later_call_is_on_disk(outbox):
    outbox.spoken.specs[1] = session_pb2.CallSpec(number=1, group=4)
    outbox.spoken.groups[4] = session_pb2.GroupDefinition(number=4)
    put(outbox, b"a", b"b")
    outbox.spoken.seals[4] = 1
    outbox.take()
    outbox.acknowledge(1)
    assert outbox.spoken.groups
    outbox.acknowledge(2)
    assert not outbox.spoken.groups
    assert not outbox.spoken.specs
    assert not outbox.spoken.seals


def test_a_put_waits_while_too_many_calls_are_not_on_disk(outbox):
    outbox.set_window(calls=2)
    put(outbox, b"a", b"b")
    passed = threading.Event()
    thread = threading.Thread(target=lambda: (put(outbox, b"c"), passed.set()))
    thread.start()
    outbox.take()
    assert not passed.wait(0.05)
    outbox.acknowledge(1)
    assert passed.wait(5)
    thread.join()


def test_a_put_waits_while_too_many_bytes_are_not_on_disk(outbox):
    outbox.set_window(size_bytes=10)
    put(outbox, bytes(11))
    room = threading.Event()
    assert not outbox.has_room(room.set)
    outbox.take()
    outbox.acknowledge(1)
    assert room.is_set()
    assert outbox.has_room(room.set)


def test_the_thread_that_makes_room_never_waits_for_it(outbox):
    outbox.set_window(calls=1)
    outbox.makers_of_room.add(threading.get_ident())
    put(outbox, b"a", b"b", b"c")
    assert outbox.last == 3


def test_a_closed_outbox_refuses_with_the_reason_also_those_who_wait(outbox):
    outbox.set_window(calls=1)
    put(outbox, b"a")
    seen = []

    def wait() -> None:
        with pytest.raises(OSError, match="gone") as caught:
            put(outbox, b"b")
        seen.append(caught.value)

    thread = threading.Thread(target=wait)
    thread.start()
    outbox.close(OSError("gone"))
    thread.join(5)
    assert seen
    with pytest.raises(OSError, match="gone"):
        put(outbox, b"c")


def test_taking_waits_for_something_to_say(outbox):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(outbox.take()))
    thread.start()
    time.sleep(0.02)
    assert not taken
    put(outbox, b"a")
    thread.join(5)
    assert len(taken[0].frames) == 1


def test_a_result_is_confirmed_with_the_next_message(outbox):
    outbox.processed(5)
    put(outbox, b"a")
    assert outbox.take().confirmed == 5
    put(outbox, b"b")
    assert outbox.take().confirmed == 0  # nothing new to say


def test_a_result_is_not_confirmed_before_the_calls_that_may_need_it_are_sent(outbox):
    put(outbox, *[b"x"] * (FRAME_CALLS + 1))
    outbox.processed(5)
    assert outbox.take().confirmed == 0
    assert outbox.take().confirmed == 5


def test_a_new_stream_confirms_only_what_no_unacknowledged_call_can_need(outbox):
    put(outbox, b"a")
    outbox.processed(5)
    assert outbox.take().confirmed == 5
    assert outbox.confirmed_for_good == 0
    outbox.acknowledge(1)
    assert outbox.confirmed_for_good == 5


def test_waiting_for_the_disk_ends_with_the_acknowledgement(outbox):
    put(outbox, b"a")
    outbox.take()
    assert not outbox.wait_acknowledged(1, timeout=0.01)
    outbox.acknowledge(1)
    assert outbox.wait_acknowledged(1, timeout=0.01)
