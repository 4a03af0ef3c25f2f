"""What the SDK does, written once for its sync and its asyncio face.

An operation is a generator: it yields what it wants done (a call, some blocking work, a stream read
to its end), is sent the answer, and returns its result. It knows no channel, no thread and no event
loop; `gridloom.channel` and `gridloom.aio` each drive the same generators.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from gridloom.values import dataclass

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from gridloom.channel import Connection

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Call:
    """One method of one service ("scheduler", "functions", "objects") and what it is asked."""

    service: str
    method: str
    request: Message
    timeout_s: float | None = None
    """How long to try, retries included; None: the connection's own patience."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """Work that reads files or moves payloads; the asyncio face runs it in a thread."""

    work: Callable[[Connection], object]


class Following(Protocol[T_co]):
    """A stream of answers that can be taken up again where it broke off."""

    def call(self) -> Call:
        """The stream to open, from where this one has come to."""
        ...

    def feed(self, answer: Any) -> Iterable[T_co]:
        """What one answer adds."""
        ...

    def finish(self) -> Iterable[T_co]:
        """What is left when the server has ended the stream; `over` from then on."""
        ...

    @property
    def over(self) -> bool:
        """Nothing more is wanted."""
        ...


@dataclass(frozen=True, slots=True)
class Collect:
    """Read a stream until it is over and answer with the list of what it brought.

    A `TimeoutError` where that takes longer than `timeout_s`.
    """

    following: Following[object]
    timeout_s: float | None = None


Effect: TypeAlias = Call | Blocking | Collect
Operation: TypeAlias = Generator[Effect, Any, T]
