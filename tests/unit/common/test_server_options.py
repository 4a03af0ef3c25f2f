"""What servers are started with."""

from __future__ import annotations

from pathlib import Path

from gridloom.endpoint import Endpoint
from gridloom_services.common.app import Limits
from gridloom_services.common.server import server_options
from grpc._cython import cygrpc


def test_grpc_knows_every_option_that_it_is_given():
    """It says nothing to one that it does not know: idle clients were sent away for asking."""
    known = Path(cygrpc.__file__).read_bytes()
    options = (*server_options(Limits()), *Endpoint("far.example:1").options)
    assert [name for name, _ in options if name.encode() + b"\0" not in known] == []
