from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import gridloom
import pytest
from gridloom.api.functions.v1 import session_pb2
from gridloom.calls.future import CallFuture
from gridloom.calls.outbox import Extras
from gridloom.calls.session import Session
from gridloom.channel import Connection
from gridloom.endpoint import Endpoint
from gridloom.locate import FixedAddress

from tests.unit.sdk.calls.service import FunctionsService

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def service() -> Iterator[FunctionsService]:
    with FunctionsService() as service:
        yield service


@pytest.fixture
def connection(service: FunctionsService) -> Iterator[Connection]:
    connection = Connection(FixedAddress(Endpoint(service.address)), patience_s=10)
    yield connection
    connection.close()


@pytest.fixture
def session(connection: Connection) -> Iterator[Session]:
    session = Session(connection)
    yield session
    session.close(timeout=0.2)


class Caller:
    """Sends calls on a session as the SDK's upper rooms do."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.codes: dict[object, bytes] = {}

    def spec(self, function, **fields) -> int:
        if function not in self.codes:
            self.codes[function] = self.session.codec.encode_function(function).data
        code = self.codes[function]
        digest = hashlib.sha256(code).digest()
        definition = session_pb2.FunctionDefinition(digest=digest, name="function", code=code)
        self.session.define(definition)
        return self.session.spec_number(session_pb2.CallSpec(function_digest=digest, **fields))

    def submit(self, function, *args, **fields) -> CallFuture:
        future = CallFuture(self.session, "function")
        encoded = self.session.codec.encode_arguments(args, {})
        extras = Extras(dependencies=encoded.dependencies) if encoded.dependencies else None
        assert self.session.put(self.spec(function, **fields), encoded.data, future, extras)
        return future


@pytest.fixture
def caller(session: Session) -> Caller:
    return Caller(session)


@pytest.fixture
def client(service: FunctionsService) -> Iterator[gridloom.Client]:
    client = gridloom.connect(service.address, timeout=10)
    yield client
    client.close()
