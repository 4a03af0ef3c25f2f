"""Whose API keys those are that callers show: asked once, remembered for seconds, asked again.

Where the keys are kept (the scheduler's process, the embedded platform) the answer is immediate and
always the newest. Elsewhere it is remembered for `fresh_s`, so a revoked key opens nothing any more
after that time. While the keeper of the keys cannot be asked, an answer holds for `hold_s` in all;
who has none is told to try again, and never that the key is wrong. However many calls show a key at
once, one question is asked.

An open stream is looked at again as often: it ends within `fresh_s` of its key's end.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from gridloom.values import dataclass

from gridloom_services.common.errors import (
    GridloomServiceError,
    UnauthenticatedError,
    UnavailableError,
)
from gridloom_services.common.keys import SHAPE_WORDS, KeyHasher, KeyProof, read_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gridloom_services.common.auth import Principal

_MOST_REMEMBERED = 10_000
# Where answers are immediate, streams are looked at this often.
_LEAST_LOOK_S = 1.0
_SILENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class KeyVerdict:
    """Whose a key is; or None and why it opens nothing."""

    principal: Principal | None
    refusal: str = ""
    # By the wall clock, in seconds. None: it never expires.
    expires_at: float | None = None


class KeySource(Protocol):
    """Keeps the keys, or asks who does."""

    # Its answers are the newest there are and cost nothing.
    is_immediate: bool

    async def verdicts(self, proofs: Sequence[KeyProof]) -> list[KeyVerdict]:
        """In the order asked. UnavailableError where nobody can say."""
        ...


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """For how long an answer is believed, in seconds."""

    fresh_s: float = 5.0
    # While the keeper of the keys does not answer.
    hold_s: float = 60.0
    # Of "this opens nothing": short, since a key may be made a moment later.
    refused_s: float = 1.0


@dataclass(slots=True)
class _Answer:
    verdict: KeyVerdict
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


class KeyRing:
    """Answers for keys, in one process. Belongs to one event loop."""

    def __init__(
        self,
        hasher: KeyHasher,
        source: KeySource,
        times: KeyTimes | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.hasher = hasher
        self._source = source
        self._times = times or KeyTimes()
        self._clock = clock
        self._wall = wall
        self._known: OrderedDict[KeyProof, _Answer] = OrderedDict()
        self._asking: dict[KeyProof, asyncio.Task[KeyVerdict]] = {}
        self._streams: dict[KeyProof, set[_Watch]] = {}
        self._looking: asyncio.Task[None] | None = None
        # Nobody answered: until then what is remembered is used without asking.
        self._silent_until = 0.0
        self._silence = ""
        # How often somebody else was asked.
        self.questions = 0

    def use(self, source: KeySource) -> None:
        """Ask there from now on: the keeper of the keys is in this process."""
        self._source = source
        self._known.clear()

    def proof(self, token: str) -> KeyProof:
        """What to ask with. UnauthenticatedError for a text that cannot be a key."""
        key = read_key(token)
        if key is None:
            raise UnauthenticatedError(f"the API key is not whole; keys are {SHAPE_WORDS}")
        return self.hasher.proof(key)

    async def principal(self, proof: KeyProof) -> Principal:
        """Whose it is. UnauthenticatedError says why it opens nothing.

        UnavailableError where nobody can say now.
        """
        verdict = await self._verdict(proof)
        if verdict.principal is None:
            raise UnauthenticatedError(verdict.refusal)
        return verdict.principal

    @contextmanager
    def watching(self, proof: KeyProof, principal: Principal) -> Iterator[None]:
        """End the stream that is being answered when its key ends.

        UnauthenticatedError then; UnavailableError where the key's rights have changed, or nobody
        could say anything about it for too long: the client comes again and is looked at anew.
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

    async def _verdict(self, proof: KeyProof) -> KeyVerdict:
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

    async def _asked(self, proof: KeyProof) -> KeyVerdict:
        known = self._known.get(proof)
        is_held = known is not None and self._age(known) < self._times.hold_s
        if not is_held or self._clock() >= self._silent_until:
            await self._ask([proof])
        return self._held(proof)

    def _answered(self, proof: KeyProof, task: asyncio.Task[KeyVerdict]) -> None:
        self._asking.pop(proof, None)
        if not task.cancelled():
            task.exception()  # whoever has waited was told

    async def _ask(self, proofs: Sequence[KeyProof]) -> None:
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

    def _held(self, proof: KeyProof) -> KeyVerdict:
        answer = self._known.get(proof)
        if answer is None or self._age(answer) >= self._times.hold_s:
            raise UnavailableError(
                f"nobody can say now whose this API key is: {self._silence}",
                retry_after_s=0.5,
            )
        return answer.verdict

    def _in_time(self, verdict: KeyVerdict) -> KeyVerdict:
        """A key that has expired since it was asked about opens nothing."""
        if verdict.expires_at is not None and verdict.expires_at <= self._wall():
            return KeyVerdict(None, "the API key has expired")
        return verdict

    def _age(self, answer: _Answer) -> float:
        return self._clock() - answer.at

    def _lasts_s(self, answer: _Answer) -> float:
        is_known = answer.verdict.principal is not None
        return self._times.fresh_s if is_known else self._times.refused_s

    # ---- streams

    def _left(self, proof: KeyProof, watch: _Watch) -> None:
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
        """End the streams whose key has ended, or has other rights by now."""
        proofs = list(self._streams)
        verdicts: list[KeyVerdict | None]
        if not self._source.is_immediate:
            await self._ask(proofs)
            verdicts = [self._verdict_of_stream(proof) for proof in proofs]
        else:
            verdicts = list(await self._source.verdicts(proofs))
        for proof, verdict in zip(proofs, verdicts, strict=True):
            for watch in list(self._streams.get(proof, ())):
                reason = _end_of(watch, self._in_time(verdict) if verdict else None)
                if reason is not None:
                    watch.end(reason)

    def _verdict_of_stream(self, proof: KeyProof) -> KeyVerdict | None:
        try:
            return self._held(proof)
        except UnavailableError:
            return None


def _end_of(watch: _Watch, verdict: KeyVerdict | None) -> GridloomServiceError | None:
    """Why a stream must end; None: it goes on."""
    if verdict is None:
        return UnavailableError("nobody can say whether the API key still holds: try again")
    if verdict.principal is None:
        return UnauthenticatedError(verdict.refusal)
    if verdict.principal != watch.principal:
        return UnavailableError("the rights of the API key have changed: come again")
    return None
