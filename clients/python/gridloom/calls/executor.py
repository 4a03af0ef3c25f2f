"""`gridloom.Executor`: a `concurrent.futures.Executor` whose workers are the platform's."""

from __future__ import annotations

import concurrent.futures
import contextlib
import math
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from gridloom import units
from gridloom.calls.client import calls_of
from gridloom.calls.feed import zipped
from gridloom.calls.function import as_function
from gridloom.calls.map import MapResults
from gridloom.calls.mapping import new_run
from gridloom.calls.options import CALL_WORDS, POOL_WORDS
from gridloom.calls.tracker import Tracker
from gridloom.calls.waiting import waiting_in_worker
from gridloom.options import check_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gridloom.calls.function import Function
    from gridloom.calls.future import CallFuture
    from gridloom.calls.pool import Pool
    from gridloom.client import Client

T = TypeVar("T")

_OWN_POOL = POOL_WORDS - {"name", "labels"}


class Executor(concurrent.futures.Executor):
    """Runs calls on the platform, for code that takes an executor of the standard library.

    With `workers=` (or any other option of `client.pool`) it has a pool of its own, which ends
    with it; with `pool=` it uses that pool, and leaves it; else it shares the platform's workers.
    Options of calls (`timeout`, `retries`, ...) hold for all of its calls. `max_workers` is another
    name of `workers`.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        max_workers: int | None = None,
        client: Client | None = None,
        pool: Pool | None = None,
        **options: Any,
    ) -> None:
        check_options(options, CALL_WORDS)
        if workers is None:
            workers = max_workers
        if workers is not None:
            options["workers"] = workers
        pool_options = {word: value for word, value in options.items() if word in _OWN_POOL}
        self._call_options = {w: v for w, v in options.items() if w not in pool_options}
        self._calls = pool.calls if pool is not None else calls_of(client)
        self._own_pool = self._calls.pool(**pool_options) if pool_options else None
        used = self._own_pool or pool
        if used is not None:
            self._call_options["pool"] = used
        self._functions: dict[Function[..., Any], Function[..., Any]] = {}
        self._tracker = Tracker()
        self._open = threading.Condition()
        self._busy = 0
        self._is_shut = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> CallFuture[T]:
        """Call `fn(*args, **kwargs)` on the platform."""
        with self._sending():
            known, before = as_function(fn)
            future = self._calls.send(self._here(known), (*before, *args), kwargs)
            self._tracker.add(self._calls.session, future.number)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As `map(fn, *iterables)`: results in order, all calls submitted now.

        Args:
            fn: what to call with an item of each iterable.
            iterables: taken from at once and to their ends, unless there is a `buffersize`.
            timeout: seconds from now after which the iterator raises `TimeoutError`.
            chunksize: items in one call; 1 leaves it to what the items turn out to take.
            buffersize: at most about so many items are taken that have no result yet.
        """
        units.whole(chunksize, field="chunksize", least=1)
        with self._sending():
            run = self._new_run(fn, iterables, chunksize, buffersize)
        return MapResults(run, timeout=timeout)

    def _new_run(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        chunksize: int,
        buffersize: int | None,
    ) -> Any:
        known, before = as_function(fn)
        if buffersize is None:  # all of it is taken and submitted, whether the results are or not
            source = zipped([list(one) for one in iterables], {})
            how: dict[str, Any] = {"budget_bytes": math.inf}
        else:
            units.whole(buffersize, field="buffersize", least=1)
            source = zipped(iterables, {})._replace(total=None)
            how = {"most_items": buffersize, "chunk_size": min(chunksize, buffersize)}
        if chunksize > 1:
            how.setdefault("chunk_size", chunksize)
        run = new_run(self._calls, self._here(known), source.after(before), **how)
        self._tracker.add_run(run)
        return run

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take no more calls. Its own pool ends with the last of them.

        With `cancel_futures` calls that have not begun are cancelled; those that run go on.
        """
        with self._open:
            was_shut, self._is_shut = self._is_shut, True
            self._open.wait_for(lambda: self._busy == 0)
        if cancel_futures:
            self._tracker.cancel_waiting()
        if wait:
            self._finish()
        elif not was_shut:
            threading.Thread(target=self._finish, name="gridloom-executor", daemon=True).start()

    def _finish(self) -> None:
        with waiting_in_worker():
            self._tracker.wait()
        with self._open:
            pool, self._own_pool = self._own_pool, None
        if pool is not None:
            pool.close()

    @contextlib.contextmanager
    def _sending(self) -> Iterator[None]:
        """Around what submits: a shutdown waits for it, and nothing begins after one."""
        with self._open:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._busy += 1
        try:
            yield
        finally:
            with self._open:
                self._busy -= 1
                self._open.notify_all()

    def _here(self, function: Function[..., T]) -> Function[..., T]:
        """The function with this executor's options above its own."""
        found = self._functions.get(function)
        if found is None:
            changes: dict[str, Any] = dict(self._call_options)
            if "pool" in changes:
                changes.update(dict.fromkeys(_OWN_POOL & function.call_options.keys()))
            found = self._functions[function] = function.options(**changes)
        return found

    def __repr__(self) -> str:
        return f"<gridloom.Executor on {self._call_options.get('pool') or 'shared workers'}>"
