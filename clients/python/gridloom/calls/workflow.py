"""Workflows on their way: the words `chain`, `group`, `chord` and `chunks`, and their futures.

A workflow is sent whole: results go from worker to worker, never through here, and it goes on
without this process.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gridloom import ids, units
from gridloom.calls.future import CallFuture
from gridloom.calls.handle import GroupHandle, arrived_group
from gridloom.calls.notebook import Picture, Pictured
from gridloom.calls.sending import send_call
from gridloom.calls.shape import Shape, filled, kind_of_shape, members
from gridloom.calls.signature import Chain, Chord, Chunks, Plan, Together, Workflow
from gridloom.calls.waiting import attended
from gridloom.errors import CancelledError
from gridloom.payload import Pending, in_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from gridloom.calls.client import Calls
    from gridloom.calls.group import Group
    from gridloom.calls.route import Route
    from gridloom.calls.session import Session


# ---- the words


def chain(*parts: Workflow | Iterable[Workflow]) -> Chain:
    """Parts one after the other, each with the result of the one before as its first argument."""
    return Chain(_parts("chain", parts))


def group(*parts: Workflow | Iterable[Workflow]) -> Together:
    """Parts side by side; the result is the list of theirs."""
    return Together(_parts("group", parts))


def chord(header: Workflow | Iterable[Workflow], body: Workflow) -> Chord:
    """Parts side by side, then `body` with the list of their results."""
    parts = header if isinstance(header, Together | Chunks) else group(header)
    return Chord(parts, _checked("chord", body))


def chunks(function: Callable[..., Any], arguments: Iterable[Iterable[Any]], size: int) -> Chunks:
    """Calls of a function with many sets of arguments, `size` of them in each call."""
    from gridloom.calls.function import Function

    known = function if isinstance(function, Function) else Function(function)
    return Chunks.of(known, arguments, size)


def _parts(word: str, given: tuple[Any, ...]) -> tuple[Workflow, ...]:
    if len(given) == 1 and isinstance(given[0], Iterable):
        given = tuple(given[0])
    if not given and word == "chain":
        raise TypeError("chain() needs at least one part")
    return tuple(_checked(word, part) for part in given)


def _checked(word: str, part: Any) -> Workflow:
    if not isinstance(part, Workflow):
        raise TypeError(f"{word}() takes signatures such as f.s(1), not {part!r}")
    return part


# ---- here


def run_here(plan: Plan) -> Any:
    """Run all calls of a plan in this thread."""
    results: list[Any] = []
    for call in plan.calls:
        arguments = call.arguments(results)
        results.append(call.function(*arguments, **call.kwargs))
    return filled(plan.result, results)


# ---- there


def submit(workflow: Workflow, args: tuple[Any, ...]) -> CallFuture[Any] | GroupFuture:
    """Send all calls of a workflow; the future of its result."""
    return submit_plan(workflow.plan(args), workflow.word)


def submit_plan(plan: Plan, word: str) -> CallFuture[Any] | GroupFuture:
    """The same of a plan of a workflow of this word."""
    calls = _platform_of(plan)
    if len(plan.calls) == 1 and isinstance(plan.result, int):
        (only,) = plan.calls
        return calls.send(only.function, only.arguments(()), only.kwargs)
    kind = kind_of_shape(word, plan.result)
    session = calls.session
    number = session.new_group(kind, _name(plan))
    futures = _send_all(calls, plan, number)
    session.seal(number)
    return GroupFuture(session, number, plan.result, futures)


def _platform_of(plan: Plan) -> Calls:
    """The client of a workflow's first function's."""
    if plan.calls:
        return plan.calls[0].function.calls
    from gridloom.client import current_client

    return current_client().calls


def _name(plan: Plan) -> str:
    named = (call.function.call_options.get("name") for call in plan.calls)
    return next(filter(None, named), plan.calls[-1].function.name if plan.calls else "")


def _send_all(calls: Calls, plan: Plan, number: int) -> list[CallFuture[Any]]:
    routes: dict[int, Route] = {}
    futures: list[CallFuture[Any]] = []
    for call in plan.calls:
        function = call.function
        route = routes.get(id(function))  # the plan holds the function: its id stays its own
        if route is None:
            route = routes[id(function)] = calls.new_route(function, number)
        args = (*function.bound, *call.arguments(futures))
        futures.append(send_call(route, args, call.kwargs))
    return futures


class GroupFuture(Pending, GroupHandle, Pictured, concurrent.futures.Future[Any]):
    """The result of a workflow: a value, or (nested) lists of values.

    It fails as soon as one of the calls fails that its result is made of. As an argument it is
    its result, and waited for there. `id` is the group's: it is good in any process.
    """

    def __init__(
        self, session: Session, number: int, shape: Shape, futures: list[CallFuture[Any]]
    ) -> None:
        super().__init__()
        self._session = session
        self._number = number
        self._shape = shape
        self.futures = futures
        """Of all its calls, each after those that it needs."""
        wanted = members(shape)
        self._left = len(wanted)
        self._counting = threading.Lock()
        for position in wanted:
            futures[position].add_done_callback(self._one_is_over)
        if not wanted:
            self.set_result(None)

    def _one_is_over(self, future: concurrent.futures.Future[Any]) -> None:
        with self._counting:
            self._left -= 1
            is_last = self._left == 0
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # it is over already
            if future.cancelled():
                self.set_exception(CancelledError(f"{self.id} was cancelled"))
            elif isinstance(future, CallFuture) and not future.settled:
                self.set_exception(future.exception())
            elif is_last:
                self.set_result(None)

    # ---- as a handle

    @property
    def id(self) -> str:
        """The group's id: `client.get(id)` opens it anywhere."""
        return ids.group_id(self._session.name, self._number)

    @property
    def group(self) -> Group:
        """The group as any process sees it: status, results, logs."""
        first = self.futures[0].number if self.futures else 0
        return arrived_group(self._session, self.id, first_call=first)

    @property
    def settled(self) -> bool:
        """It never is a dependency itself: the calls that its result is made of are."""
        return True

    def wait(self, timeout: float | None = None) -> None:
        """Return when it is done; `TimeoutError` where that takes longer than `timeout` seconds."""
        with attended(f"The workflow {self.id}", self.id, self.cancel):
            done, _ = concurrent.futures.wait([self], timeout)
        if not done:
            raise TimeoutError(f"{self.id} is not done after {timeout:g} s")

    def result(self, timeout: float | None = None) -> Any:
        """Its result, or what the first of its calls that failed has raised."""
        if not self.done():
            with attended(f"The workflow {self.id}", self.id, self.cancel):
                return self._result_after(timeout)
        return self._result_after(timeout)

    def _result_after(self, timeout: float | None) -> Any:
        super().result(timeout)
        return filled(self._shape, _Values(self.futures))

    def cancel(self, grace: units.Duration | None = None) -> bool:
        """Cancel all of its calls that have not ended; False where it is over."""
        if self.done():
            return self.cancelled()
        for future in self.futures:
            future.cancel(grace)
        return super().cancel() or self.done()

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self).__await__()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if in_arguments():
            return _passed, (filled(self._shape, self.futures),)
        from gridloom.calls.group import reopened_group

        return reopened_group, (self._session.connection.locator.name, self.id)

    def __repr__(self) -> str:
        return f"<GroupFuture {self.id} {self._done_of_all()}>"

    def _done_of_all(self) -> str:
        done = sum(future.is_over for future in self.futures)
        return f"{done:,}/{len(self.futures):,}"

    def _picture(self) -> Picture:
        rows = [("workflow", self.id), ("calls done", self._done_of_all())]
        return Picture(repr(self), rows, is_over=self.done())


class _Values(Sequence[Any]):
    """The values of futures that are over, decoded as they are asked for."""

    def __init__(self, futures: list[CallFuture[Any]]) -> None:
        self._futures = futures

    def __getitem__(self, position: Any) -> Any:
        return self._futures[position].result()

    def __len__(self) -> int:
        return len(self._futures)


def _passed(value: Any) -> Any:
    """What stands in a pickle of arguments for the workflow's result."""
    return value
