"""Frames on a socket."""

from __future__ import annotations

import socket
import struct

import pytest
from gridloom.api.functions.v1 import worker_pb2
from gridloom.worker.frames import (
    FrameBuffer,
    LinkLostError,
    SocketLink,
    connect,
    encode_frame,
)
from hypothesis import given
from hypothesis import strategies as st

Drain = worker_pb2.ServiceFrame(drain=worker_pb2.Drain())


def resize(workers):
    return worker_pb2.ServiceFrame(resize=worker_pb2.HostResize(workers=workers))


@pytest.fixture
def pair():
    """A link and the socket at its other end."""
    ours, theirs = socket.socketpair()
    link = SocketLink(ours)
    with theirs:
        yield link, theirs
        link.close()


@given(st.lists(st.integers(0, 2**32 - 1)), st.lists(st.integers(1, 20)))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(numbers, cuts):
    stream = b"".join(encode_frame(resize(number)) for number in numbers)
    buffer, found = FrameBuffer(), []
    while stream:
        size = cuts.pop() if cuts else len(stream)
        buffer.feed(stream[:size])
        stream = stream[size:]
        while (body := buffer.take()) is not None:
            found.append(worker_pb2.ServiceFrame.FromString(body).resize.workers)
    assert found == numbers


def test_a_frame_is_waited_for(pair):
    link, other = pair
    other.sendall(encode_frame(Drain) + encode_frame(resize(3)))
    assert link.receive().HasField("drain")
    assert link.receive().resize.workers == 3


def test_only_what_is_here_is_taken_without_waiting(pair):
    link, other = pair
    assert link.arrived() == []
    other.sendall(encode_frame(resize(1)) + encode_frame(resize(2))[:3])
    assert [frame.resize.workers for frame in link.arrived()] == [1]
    other.sendall(encode_frame(resize(2))[3:])
    assert link.receive().resize.workers == 2


def test_the_end_of_the_stream_is_a_lost_link(pair):
    link, other = pair
    other.close()
    with pytest.raises(LinkLostError):
        link.receive()
    with pytest.raises(LinkLostError):
        link.arrived()
    with pytest.raises(LinkLostError):
        link.send(worker_pb2.WorkerFrame(host=worker_pb2.HostStatus(workers=1)))


def test_what_was_said_last_is_heard_before_the_end_of_the_link(pair):
    link, other = pair
    other.sendall(encode_frame(resize(1)))
    other.close()
    assert [frame.resize.workers for frame in link.arrived()] == [1]
    with pytest.raises(LinkLostError):
        link.arrived()


def test_a_length_that_cannot_be_is_a_lost_link(pair):
    link, other = pair
    other.sendall(struct.pack(">I", 0xFFFFFFFF))
    with pytest.raises(LinkLostError, match="4,294,967,295 bytes"):
        link.receive()


def test_a_path_longer_than_the_kernel_takes_is_reached_all_the_same(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("the.sock")
        listener.listen()
        link = connect(str(folder / "the.sock"))
        accepted, _ = listener.accept()
        accepted.sendall(encode_frame(Drain))
        assert link.receive().HasField("drain")
        accepted.close()
        link.close()


def test_nobody_listening_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        connect(str(tmp_path / "nothing"))
