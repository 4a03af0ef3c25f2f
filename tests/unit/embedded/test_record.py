from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from gridloom.home import EmbeddedPlatform
from gridloom.version import PROTOCOL, VERSION
from gridloom_services.embedded.record import (
    PlatformRecord,
    last_port,
    recorded_pid,
    remember_port,
    remove_record,
)


def test_the_sdk_reads_what_the_platform_writes(tmp_path):
    ours = PlatformRecord.of_this_process("127.0.0.1:5000", tmp_path / "token", metrics_port=9000)
    ours.write(tmp_path)
    theirs = EmbeddedPlatform(tmp_path).record()
    assert theirs is not None
    assert (theirs.address, theirs.pid) == ("127.0.0.1:5000", os.getpid())
    assert Path(theirs.token_file) == tmp_path / "token"
    assert (theirs.version, theirs.protocol) == (VERSION, PROTOCOL)


def test_a_socket_is_used_where_the_record_names_one_that_is_there(tmp_path):
    path = tmp_path / "platform.sock"
    (tmp_path / "token").write_text("t")
    with socket.create_server(("127.0.0.1", 0)) as port:
        address = f"127.0.0.1:{port.getsockname()[1]}"
        said = PlatformRecord.of_this_process(address, tmp_path / "token", socket=str(path))
        said.write(tmp_path)
        assert EmbeddedPlatform(tmp_path).find(may_start=False).target == address
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            found = EmbeddedPlatform(tmp_path).find(may_start=False)
    assert (found.target, found.address, found.is_local) == (f"unix:{path}", address, True)


def test_streams_go_without_grpc_where_the_record_names_a_socket_that_is_there(tmp_path):
    path = tmp_path / "pipes.sock"
    (tmp_path / "token").write_text("t")
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as listener:
        address = f"127.0.0.1:{port.getsockname()[1]}"
        said = PlatformRecord.of_this_process(address, tmp_path / "token", pipes=str(path))
        said.write(tmp_path)
        assert EmbeddedPlatform(tmp_path).find(may_start=False).pipes == ""
        listener.bind(str(path))
        assert EmbeddedPlatform(tmp_path).find(may_start=False).pipes == str(path)


def test_a_record_of_a_platform_that_knew_no_sockets_is_read(tmp_path):
    PlatformRecord.of_this_process("h:1", tmp_path / "token").write(tmp_path)
    record = json.loads((tmp_path / "platform.json").read_text())
    del record["socket"]
    (tmp_path / "platform.json").write_text(json.dumps(record))
    theirs = EmbeddedPlatform(tmp_path).record()
    assert theirs is not None
    assert theirs.socket == ""


def test_a_record_is_replaced_as_a_whole_and_leaves_no_draft(tmp_path):
    for port in range(5000, 5010):
        PlatformRecord.of_this_process(f"h:{port}", tmp_path / "token").write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["platform.json"]


def test_a_removed_record_names_nobody(tmp_path):
    PlatformRecord.of_this_process("h:1", tmp_path / "token").write(tmp_path)
    assert recorded_pid(tmp_path) == os.getpid()
    remove_record(tmp_path)
    remove_record(tmp_path)
    assert recorded_pid(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "{}"])
def test_a_spoilt_record_names_nobody(tmp_path, text):
    (tmp_path / "platform.json").write_text(text)
    assert recorded_pid(tmp_path) is None


def test_the_port_is_remembered(tmp_path):
    assert last_port(tmp_path) == 0
    remember_port(tmp_path, "127.0.0.1:4711")
    assert last_port(tmp_path) == 4711
    (tmp_path / "port").write_text("many")
    assert last_port(tmp_path) == 0
