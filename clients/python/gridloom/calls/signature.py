"""Signatures: calls that are put together first and made later. Values, never changed.

The words are Celery's. In a chain each part gets the result of the one before as its first
argument; a group's parts run side by side; a chord is a group and one more that gets the list of
all its results. They nest. `plan` says which calls there will be, and which needs which.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Unpack

from gridloom import units
from gridloom.calls.composed import Several, Then, composed
from gridloom.calls.function import Function
from gridloom.calls.shape import filled
from gridloom.errors import InvalidRequestError
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gridloom.calls.future import CallFuture
    from gridloom.calls.options import CallOptions
    from gridloom.calls.shape import Shape
    from gridloom.calls.workflow import GroupFuture


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call of a plan. `needs` are the calls whose results become its first argument."""

    function: Function[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    needs: Shape | None = None

    def arguments(self, results: Sequence[Any]) -> tuple[Any, ...]:
        """All its arguments, given what stands for the results of the calls before it."""
        if self.needs is None:
            return self.args
        return (filled(self.needs, results), *self.args)


@dataclass
class Plan:
    """All calls of a workflow, each after those that it needs, and what its result is made of."""

    calls: list[PlannedCall] = field(default_factory=list)
    result: Shape = 0

    def add(self, call: PlannedCall) -> int:
        """Its number in the plan."""
        self.calls.append(call)
        return len(self.calls) - 1


class Workflow:
    """What signatures, chains, groups, chords and chunks have in common."""

    word = "call"

    def extend(self, plan: Plan, before: Shape | None) -> Shape:
        """Add the calls to a plan, given what comes before; what the result is made of."""
        raise NotImplementedError

    def plan(self, args: tuple[Any, ...] = ()) -> Plan:
        """Every call that it will be. `args` go to its first part, before its own."""
        plan = Plan()
        first = self.with_first(args) if args else self
        plan.result = first.extend(plan, None)
        return plan

    def with_first(self, args: tuple[Any, ...]) -> Workflow:
        """The same with more arguments for whatever comes first."""
        raise NotImplementedError

    def submit(self, *args: Any) -> CallFuture[Any] | GroupFuture:
        """Start it on the platform: the future of its result."""
        from gridloom.calls.workflow import submit

        return submit(self, args)

    def __call__(self, *args: Any) -> Any:
        """Run it here and now."""
        from gridloom.calls.workflow import run_here

        return run_here(self.plan(args))

    def __or__(self, after: Workflow) -> Chain:
        if not isinstance(after, Workflow):
            return NotImplemented
        return Chain((*_links(self), *_links(after)))


@dataclass(frozen=True)
class Signature(Workflow):
    """One call: a function and (some of) its arguments."""

    function: Function[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    immutable: bool = False

    def options(self, **changes: Unpack[CallOptions]) -> Signature:
        """The same call with other options of its function."""
        return Signature(self.function.options(**changes), self.args, self.kwargs, self.immutable)

    def extend(self, plan: Plan, before: Shape | None) -> Shape:
        """One call; one that is immutable still comes after what is before it."""
        function = self.function
        if self.immutable and before is not None:
            later = composed(Then, function.function)
            function = Function(later, function.call_options, function.bound)
        return plan.add(PlannedCall(function, self.args, self.kwargs, before))

    def with_first(self, args: tuple[Any, ...]) -> Signature:
        """The arguments of `submit` come before its own; one that is immutable takes none."""
        if self.immutable:
            return self
        return Signature(self.function, (*args, *self.args), self.kwargs)

    def __repr__(self) -> str:
        said = [repr(one) for one in self.args]
        said += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.function.name}({', '.join(said)})"


@dataclass(frozen=True)
class Chain(Workflow):
    """One part after the other."""

    parts: tuple[Workflow, ...]
    word = "chain"

    def extend(self, plan: Plan, before: Shape | None) -> Shape:
        """Each part with what the one before it gives; the last one's result."""
        for part in self.parts:
            before = part.extend(plan, before)
        assert before is not None  # a chain has parts
        return before

    def with_first(self, args: tuple[Any, ...]) -> Chain:
        """The arguments go to the first part."""
        return Chain((self.parts[0].with_first(args), *self.parts[1:]))

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.parts))


@dataclass(frozen=True)
class Together(Workflow):
    """Parts side by side: the list of their results."""

    parts: tuple[Workflow, ...]
    word = "group"

    def extend(self, plan: Plan, before: Shape | None) -> Shape:
        """Each part gets what comes before."""
        return [part.extend(plan, before) for part in self.parts]

    def with_first(self, args: tuple[Any, ...]) -> Together:
        """The arguments go to every part."""
        return Together(tuple(part.with_first(args) for part in self.parts))

    def __repr__(self) -> str:
        return f"group({', '.join(map(repr, self.parts))})"


@dataclass(frozen=True)
class Chord(Workflow):
    """Parts side by side, then one that gets the list of all their results."""

    header: Workflow
    body: Workflow
    word = "chord"

    def extend(self, plan: Plan, before: Shape | None) -> Shape:
        """The body's result."""
        return self.body.extend(plan, self.header.extend(plan, before))

    def with_first(self, args: tuple[Any, ...]) -> Chord:
        """The arguments go to every part of the header."""
        return Chord(self.header.with_first(args), self.body)

    def __repr__(self) -> str:
        return f"chord({self.header!r}, {self.body!r})"


@dataclass(frozen=True)
class Chunks(Workflow):
    """Many sets of arguments for one function, some of them in each call: a list of lists."""

    function: Function[..., Any]
    arguments: tuple[tuple[Any, ...], ...]
    size: int
    word = "chunks"

    @classmethod
    def of(
        cls, function: Function[..., Any], arguments: Iterable[Iterable[Any]], size: int
    ) -> Chunks:
        """With the arguments taken from an iterable now."""
        units.whole(size, field="size", least=1)
        return cls(function, tuple(_set_of(*each) for each in enumerate(arguments)), size)

    def extend(self, plan: Plan, before: Shape | None) -> Shape:
        """One call for each `size` sets; what comes before is waited for, and not passed."""
        options, bound = self.function.call_options, self.function.bound
        inner = composed(Several, self.function.function)
        calls: list[Shape] = []
        for first in range(0, len(self.arguments), self.size):
            part = [(*bound, *one) for one in self.arguments[first : first + self.size]]
            signature = Signature(Function(inner, options), (part,), immutable=True)
            calls.append(signature.extend(plan, before))
        return calls

    def with_first(self, args: tuple[Any, ...]) -> Chunks:
        """The arguments go before those of every set."""
        return Chunks(self.function, tuple((*args, *one) for one in self.arguments), self.size)

    def __repr__(self) -> str:
        return f"{self.function.name}.chunks({len(self.arguments)} sets of arguments, {self.size})"


def _set_of(number: int, given: Iterable[Any]) -> tuple[Any, ...]:
    try:
        return tuple(given)
    except TypeError:
        raise InvalidRequestError(
            f"chunks() takes a tuple of arguments for each call, such as (1,): number {number} is"
            f" {given!r:.100}",
            field="arguments",
            given=repr(given)[:100],
            allowed="tuples of arguments",
        ) from None


def _links(part: Workflow) -> tuple[Workflow, ...]:
    return part.parts if isinstance(part, Chain) else (part,)
