"""Whether what callers show still opens anything: asked once, remembered, asked again.

Where that is known (the scheduler's process, the embedded platform) the answer is immediate and
always the newest. Elsewhere it is remembered for `fresh_s`, so what has ended opens nothing any
more after that time. While nobody can be asked, an answer holds for `hold_s` in all; who has none
is told to try again, and never that it is wrong. However many calls show the same at once, one
question is asked.

An open stream is looked at again as often: it ends within `fresh_s` of the end of what opened it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from gridloom.values import dataclass

from gridloom_services.common.errors import (
    GridloomServiceError,
    UnauthenticatedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gridloom_services.common.auth import Principal

_MOST_REMEMBERED = 10_000
# Where answers are immediate, streams are looked at this often.
_LEAST_LOOK_S = 1.0
_SILENCE_S = 1.0


# What is shown: it is compared and remembered, so it can be hashed.
Held = TypeVar("Held")
Shown = TypeVar("Shown", contravariant=True)  # noqa: PLC0105  # as people call it


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who has shown it; or None and why it opens nothing."""

    principal: Principal | None
    refusal: str = ""
    # By the wall clock, in seconds. None: it never expires.
    expires_at: float | None = None


class Source(Protocol[Shown]):
    """Knows, or asks who does."""

    @property
    def is_immediate(self) -> bool:
        """Its answers are the newest there are and cost nothing."""
        ...

    async def verdicts(self, proofs: Sequence[Shown]) -> list[Verdict]:
        """In the order asked. UnavailableError where nobody can say."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """For how long an answer is believed, in seconds."""

    fresh_s: float = 5.0
    # While nobody answers.
    hold_s: float = 60.0
    # Of "this opens nothing": short, since it may be made a moment later.
    refused_s: float = 1.0


@dataclass(slots=True)
class _Answer:
    verdict: Verdict
    at: float


class _Watch:
    """An open stream and the rights with which it was opened."""

    __slots__ = ("principal", "reason", "task")

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.task = asyncio.current_task()
        self.reason: GridloomServiceError | None = None

    def end(self, reason: GridloomServiceError) -> None:
        if self.reason is None and self.task is not None:
            self.reason = reason
            self.task.cancel()


class Ring(Generic[Held]):
    """Answers in one process, for all that is shown there. Belongs to one event loop.

    `noun` is what is shown, for sentences: "API key".
    """

    def __init__(
        self,
        noun: str,
        source: Source[Held],
        times: Times | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._noun = noun
        self._source = source
        self._times = times or Times()
        self._clock = clock
        self._wall = wall
        self._known: OrderedDict[Held, _Answer] = OrderedDict()
        self._asking: dict[Held, asyncio.Task[Verdict]] = {}
        self._streams: dict[Held, set[_Watch]] = {}
        self._looking: asyncio.Task[None] | None = None
        # Nobody answered: until then what is remembered is used without asking.
        self._silent_until = 0.0
        self._silence = ""
        # How often somebody else was asked.
        self.questions = 0

    def use(self, source: Source[Held]) -> None:
        """Ask there from now on: who knows is in this process."""
        self._source = source
        self._known.clear()

    async def principal(self, proof: Held) -> Principal:
        """Whose it is. UnauthenticatedError says why it opens nothing.

        UnavailableError where nobody can say now.
        """
        verdict = await self._verdict(proof)
        if verdict.principal is None:
            raise UnauthenticatedError(verdict.refusal)
        return verdict.principal

    @contextmanager
    def watching(self, proof: Held, principal: Principal) -> Iterator[None]:
        """End the stream that is being answered when what opened it ends.

        UnauthenticatedError then; UnavailableError where its rights have changed, or nobody could
        say anything about it for too long: the client comes again and is looked at anew.
        """
        watch = _Watch(principal)
        self._streams.setdefault(proof, set()).add(watch)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            yield
        except asyncio.CancelledError:
            if watch.reason is None:
                raise
            if watch.task is not None:
                watch.task.uncancel()
            raise watch.reason from None
        finally:
            watch.task = None
            self._left(proof, watch)

    def close(self) -> None:
        """Ask nothing any more."""
        for task in (self._looking, *self._asking.values()):
            if task is not None:
                task.cancel()

    # ---- asking

    async def _verdict(self, proof: Held) -> Verdict:
        if self._source.is_immediate:
            return (await self._source.verdicts([proof]))[0]
        answer = self._known.get(proof)
        if answer is not None and self._age(answer) < self._lasts_s(answer):
            return self._in_time(answer.verdict)
        if proof not in self._asking:
            task = asyncio.create_task(self._asked(proof))
            self._asking[proof] = task
            task.add_done_callback(lambda done: self._answered(proof, done))
        # A caller that leaves does not take the answer away from the others.
        return self._in_time(await asyncio.shield(self._asking[proof]))

    async def _asked(self, proof: Held) -> Verdict:
        known = self._known.get(proof)
        is_held = known is not None and self._age(known) < self._times.hold_s
        if not is_held or self._clock() >= self._silent_until:
            await self._ask([proof])
        return self._held(proof)

    def _answered(self, proof: Held, task: asyncio.Task[Verdict]) -> None:
        self._asking.pop(proof, None)
        if not task.cancelled():
            task.exception()  # whoever has waited was told

    async def _ask(self, proofs: Sequence[Held]) -> None:
        """Ask, and remember; while nobody answers, what is remembered stays."""
        self.questions += 1
        try:
            verdicts = await self._source.verdicts(proofs)
        except UnavailableError as error:
            self._silence = error.message
            self._silent_until = self._clock() + _SILENCE_S
            return
        now = self._clock()
        for proof, verdict in zip(proofs, verdicts, strict=True):
            self._known[proof] = _Answer(verdict, now)
            self._known.move_to_end(proof)
        while len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)

    def _held(self, proof: Held) -> Verdict:
        answer = self._known.get(proof)
        if answer is None or self._age(answer) >= self._times.hold_s:
            raise UnavailableError(
                f"nobody can say now whether this {self._noun} still holds: {self._silence}",
                retry_after_s=0.5,
            )
        return answer.verdict

    def _in_time(self, verdict: Verdict) -> Verdict:
        """What has expired since it was asked about opens nothing."""
        if verdict.expires_at is not None and verdict.expires_at <= self._wall():
            return Verdict(None, f"the {self._noun} has expired")
        return verdict

    def _age(self, answer: _Answer) -> float:
        return self._clock() - answer.at

    def _lasts_s(self, answer: _Answer) -> float:
        is_known = answer.verdict.principal is not None
        return self._times.fresh_s if is_known else self._times.refused_s

    # ---- streams

    def _left(self, proof: Held, watch: _Watch) -> None:
        watches = self._streams[proof]
        watches.discard(watch)
        if not watches:
            del self._streams[proof]

    async def _look(self) -> None:
        """As long as there are streams."""
        try:
            while self._streams:
                pause_s = self._times.fresh_s
                if self._source.is_immediate:
                    pause_s = min(pause_s, _LEAST_LOOK_S)
                await asyncio.sleep(pause_s)
                await self.look_at_streams()
        finally:
            self._looking = None

    async def look_at_streams(self) -> None:
        """End the streams of what has ended, or has other rights by now."""
        proofs = list(self._streams)
        verdicts: list[Verdict | None]
        if not self._source.is_immediate:
            await self._ask(proofs)
            verdicts = [self._verdict_of_stream(proof) for proof in proofs]
        else:
            verdicts = list(await self._source.verdicts(proofs))
        for proof, verdict in zip(proofs, verdicts, strict=True):
            for watch in list(self._streams.get(proof, ())):
                reason = self._end_of(watch, self._in_time(verdict) if verdict else None)
                if reason is not None:
                    watch.end(reason)

    def _verdict_of_stream(self, proof: Held) -> Verdict | None:
        try:
            return self._held(proof)
        except UnavailableError:
            return None

    def _end_of(self, watch: _Watch, verdict: Verdict | None) -> GridloomServiceError | None:
        """Why a stream must end; None: it goes on."""
        if verdict is None:
            return UnavailableError(f"nobody can say whether the {self._noun} holds: try again")
        if verdict.principal is None:
            return UnauthenticatedError(verdict.refusal)
        if verdict.principal != watch.principal:
            return UnavailableError(f"the rights of the {self._noun} have changed: come again")
        return None
