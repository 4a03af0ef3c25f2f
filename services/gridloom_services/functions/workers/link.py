"""A worker's or pool host's connection, whatever carries it; and who may connect."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from gridloom.api.functions.v1 import worker_pb2
from gridloom.version import PROTOCOL

from gridloom_services.common.errors import (
    ConflictError,
    GridloomServiceError,
    InvalidRequestError,
    PermissionDeniedError,
    VersionMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.common.auth import Principal

_log = logging.getLogger(__name__)


class Carrier(Protocol):
    """One transport's end of a connection."""

    def send(self, frame: worker_pb2.ServiceFrame) -> None:
        """Hand it over; never waits. After the end it is dropped."""
        ...

    def close(self) -> None:
        """End the connection, after what was sent."""
        ...


class Crew(Protocol):
    """Is told what comes from workers and hosts, in order, on the event loop."""

    def admits(self, hello: worker_pb2.WorkerHello) -> None:
        """Raise ConflictError or NotFoundError where the pool has no use for it."""
        ...

    def joined(self, link: Link) -> None:
        """A worker or host has been let in; `link.hello` says which."""
        ...

    def received(self, link: Link, frame: worker_pb2.WorkerFrame) -> None:
        """A frame after the hello."""
        ...

    def left(self, link: Link) -> None:
        """Its connection is over. Said once for each that joined."""
        ...


class Link:
    """One connection that was let in."""

    __slots__ = ("_carrier", "hello", "is_open", "principal")

    def __init__(
        self, carrier: Carrier, hello: worker_pb2.WorkerHello, principal: Principal
    ) -> None:
        self._carrier = carrier
        self.hello = hello
        self.principal = principal
        self.is_open = True

    @property
    def is_host(self) -> bool:
        """It forks workers and runs no calls."""
        return self.hello.kind == worker_pb2.WorkerHello.KIND_HOST

    @property
    def worker_id(self) -> str:
        """Unique in its pool."""
        return self.hello.worker_id

    @property
    def pool_id(self) -> str:
        """Whose worker it is."""
        return self.hello.pool_id

    def send(self, frame: worker_pb2.ServiceFrame) -> None:
        """Hand a frame over, in order; dropped when the connection is over."""
        if self.is_open:
            self._carrier.send(frame)

    def close(self) -> None:
        """End it; the crew is told by the transport."""
        self._carrier.close()


class Reception:
    """Lets in who may come, and gives the rest of their frames to the crew."""

    def __init__(
        self,
        crew: Crew,
        verify: Callable[[str], Principal],
        welcome: Callable[[], worker_pb2.WorkerWelcome],
    ) -> None:
        self._crew = crew
        self._verify = verify
        self._welcome = welcome
        self.links: set[Link] = set()

    def enter(self, carrier: Carrier, frame: worker_pb2.WorkerFrame) -> Link:
        """The first frame of a connection: let it in, or raise why not.

        InvalidRequestError, VersionMismatchError, UnauthenticatedError, PermissionDeniedError, or
        what the crew says.
        """
        if frame.WhichOneof("body") != "hello":
            raise InvalidRequestError("the first frame must be a hello", field="hello")
        hello = frame.hello
        if hello.protocol != PROTOCOL:
            raise VersionMismatchError(
                f"the worker speaks protocol {hello.protocol}, this service {PROTOCOL}: "
                "give both the same version of gridloom",
                field="protocol",
                given=hello.protocol,
                allowed=PROTOCOL,
            )
        principal = self._verify(hello.token)
        if not principal.is_gang:
            raise PermissionDeniedError("only the processes of a pool's job may serve its calls")
        self._crew.admits(hello)
        link = Link(carrier, hello, principal)
        self.links.add(link)
        link.send(worker_pb2.ServiceFrame(welcome=self._welcome()))
        self._crew.joined(link)
        return link

    def take(self, link: Link, frame: worker_pb2.WorkerFrame) -> None:
        """Any later frame."""
        if link.is_open:
            self._crew.received(link, frame)

    def leave(self, link: Link) -> None:
        """The connection is over."""
        if link.is_open:
            link.is_open = False
            self.links.discard(link)
            self._crew.left(link)

    def close(self) -> None:
        """End every connection; hosts come back to the next service."""
        for link in list(self.links):
            link.close()

    @staticmethod
    def note_refusal(error: GridloomServiceError, where: str) -> None:
        """Refusals are an operator's business: the worker itself can only go."""
        level = logging.DEBUG if isinstance(error, ConflictError) else logging.WARNING
        _log.log(level, "a worker was not let in by %s: %s", where, error.message)
