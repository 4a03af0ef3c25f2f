"""The client: one object for everything that a user does on a platform.

`gridloom.connect()` gives one. Jobs are in `gridloom.jobs`, calls in `gridloom.calls`; both share
the client's connection and defaults.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from gridloom import ids
from gridloom.channel import DEFAULT_PATIENCE_S, Connection
from gridloom.connecting import connect
from gridloom.jobs.face import JobVerbs
from gridloom.lazy import LazyModule
from gridloom.options import Defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gridloom import inventory
    from gridloom.access.face import Access
    from gridloom.calls.client import Calls
    from gridloom.calls.future import CallFuture
    from gridloom.calls.map import MapResults
    from gridloom.calls.options import PoolOptions
    from gridloom.calls.pool import Pool
    from gridloom.endpoint import Endpoint
    from gridloom.inventory import FunctionInfo, PoolInfo
    from gridloom.locate import Place
    from gridloom.mpi_jobs.face import Mpi
    from gridloom.studies.options import StudyWords
    from gridloom.studies.study import ScalingStudy

else:
    inventory = LazyModule("gridloom.inventory")

T = TypeVar("T")


class Client(JobVerbs):
    """A platform. Safe to share between threads; usable in a forked child; ends with `close()`.

    Handles and futures that it gave stay usable as long as it is open. From a pickle comes a client
    of the same platform: inside a job, of the one that runs the job.
    """

    def __init__(self, place: Place, *, patience_s: float = DEFAULT_PATIENCE_S) -> None:
        self.connection = Connection(place.locator, patience_s=patience_s)
        self.defaults = Defaults(place.project, place.queue)
        self._lock = threading.Lock()
        self._calls: Calls | None = None

    def __repr__(self) -> str:
        return f"<gridloom.Client of {self.name}>"

    def __reduce__(self) -> tuple[Callable[..., Client], tuple[str]]:
        return client_of, (self.name,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection. What was submitted goes on; an embedded platform outlives it."""
        with self._lock:
            calls, self._calls = self._calls, None
        if calls is not None:
            calls.close()
        _clients.forget(self)
        self.connection.close()

    @property
    def access(self) -> Access:
        """API keys, members of projects and their roles, and the audit log."""
        from gridloom.access.face import Access

        return Access(self)

    @property
    def mpi(self) -> Mpi:
        """MPI programs and functions: `client.mpi.run(["./solver"], ranks=8)`."""
        from gridloom.mpi_jobs.face import Mpi

        return Mpi(self)

    # ---- anything by its id

    def get(self, identifier: str) -> Any:
        """The handle of a job, array element, call, group or pool, whoever submitted it.

        A `NotFoundError` where it does not exist; what is not an id is refused.
        """
        if ids.kind_of(identifier) == "job":
            return self.job(identifier)
        return self.calls.get(identifier)

    # ---- calls

    def functions(self, project: str | None = None) -> list[FunctionInfo]:
        """The functions that were called, with how often and how long they ran."""
        return self.connection.run(inventory.list_functions(self._project(project)))

    def pools(self, project: str | None = None) -> list[PoolInfo]:
        """The pools of workers."""
        return self.connection.run(inventory.list_pools(self._project(project)))

    @property
    def calls(self) -> Calls:
        """The side that calls Python functions; its session opens at the first call."""
        known = self._calls
        if known is not None:
            return known
        with self._lock:
            if self._calls is None:
                from gridloom.calls.client import Calls

                self._calls = Calls(self)
            return self._calls

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> CallFuture[T]:
        """Call `function(*args, **kwargs)` on the platform; options are those of `.options()`."""
        return self.calls.submit(function, *args, **kwargs)

    def map(
        self, function: Callable[..., T], /, *iterables: Iterable[Any], **options: Any
    ) -> MapResults[T]:
        """Call the function for each item (for items of several iterables in step); an iterator."""
        return self.calls.map(function, *iterables, **options)

    def starmap(
        self, function: Callable[..., T], arguments: Iterable[Iterable[Any]], /, **options: Any
    ) -> MapResults[T]:
        """Call the function with each tuple of arguments; an iterator over the results."""
        return self.calls.starmap(function, arguments, **options)

    def map_reduce(
        self, function: Callable[..., Any], /, *iterables: Iterable[Any], **options: Any
    ) -> Any:
        """Map, and fold the results on the workers: `reduce=`, `initial=`."""
        return self.calls.map_reduce(function, *iterables, **options)

    def pool(self, **options: Unpack[PoolOptions]) -> Pool:
        """A pool of warm workers of one's own: `workers`, `concurrency`, `cpus`, ..."""
        return self.calls.pool(**options)

    # ---- how work scales

    def scaling_study(
        self,
        spec: Any,
        widths: Sequence[int] = (1, 2, 4, 8),
        mode: str = "strong",
        repeats: int = 5,
        **words: Unpack[StudyWords],
    ) -> ScalingStudy:
        """Run the same work at several widths, through the queue, and see how it scales.

        `spec` is an MPI call (`heat.s(512)`) or program (`["./solver", "{width}"]`), several calls
        of functions (`gridloom.group(fit.s(c) for c in cs)`), or a function from the width to one
        of these: for `mode="weak"`, where the work grows with the width. Runs come one after the
        other; of a study begun again under the same `name` only those that are missing. Times are
        of the work itself, without waiting and starting, which stand beside them. See `StudyWords`
        for the rest: `bound`, `confidence`, `folder`, and the options of each run.
        """
        from gridloom.studies.conduct import conduct

        return conduct(self, spec, widths, mode, repeats, words)


def opened(place: Place, endpoint: Endpoint, patience_s: float) -> Client:
    """The client of a platform that has been found; it is the current one from now on."""
    client = Client(place, patience_s=patience_s)
    client.connection.begin_at(endpoint)
    _clients.remember(client)
    return client


class _Clients:
    """The open clients of this process, by platform: handles that come by pickle find theirs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Client] = []
        self.newest: Client | None = None
        """The client that was connected last and is still open."""

    def remember(self, client: Client) -> None:
        with self._lock:
            self._open.append(client)
            self.newest = client

    def forget(self, client: Client) -> None:
        with self._lock:
            self._open = [each for each in self._open if each is not client]
            self.newest = self._open[-1] if self._open else None

    def latest(self, name: str | None = None) -> Client | None:
        with self._lock:
            fitting = (each for each in reversed(self._open) if name in {None, each.name})
            return next(fitting, None)

    def unlock(self) -> None:
        """A forked child's lock must not be one that a thread of its parent holds."""
        self._lock = threading.Lock()


_clients = _Clients()
os.register_at_fork(after_in_child=_clients.unlock)


def current_client() -> Client:
    """The client that was connected last and is still open, else a new one of `connect()`."""
    newest = _clients.newest  # without a lock: every submission comes by here
    return newest if newest is not None else connect()


def client_of(name: str) -> Client:
    """A client of the platform with this `Client.name`: what a handle from a pickle needs.

    Inside a job, the platform that runs the job is meant, whatever the handle's maker called it.
    """
    if "GRIDLOOM_TOKEN" in os.environ:
        return current_client()
    known = _clients.latest(name)
    if known is not None:
        return known
    return connect(home=name) if name.startswith("/") else connect(name)
