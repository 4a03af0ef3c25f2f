"""Gridloom as a backend of joblib: what uses joblib (scikit-learn) then runs on the platform.

    import gridloom.joblib

    with joblib.parallel_config(backend="gridloom"):
        GridSearchCV(model, grid, n_jobs=-1).fit(X, y)

Importing this module registers the backend. `client=`, `pool=` and the options of calls may be
given to `parallel_config` besides.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, register_parallel_backend

from gridloom.calls.client import calls_of, expected_parallelism
from gridloom.calls.function import as_function
from gridloom.calls.future import CallFuture
from gridloom.calls.options import checked_options
from gridloom.calls.sending import put_encoded
from gridloom.calls.waiting import waiting_in_worker
from gridloom.errors import InvalidRequestError
from gridloom.payload import PayloadCodec

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from gridloom.calls.client import Calls
    from gridloom.calls.function import Function
    from gridloom.calls.pool import Pool
    from gridloom.client import Client

# Arrays that many tasks share are sent once and by reference from this size on.
_BY_REFERENCE_BYTES = 128 * 1024


class GridloomBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # untyped
    """Batches of joblib's tasks as calls."""

    supports_retrieve_callback = True
    supports_inner_max_num_threads = False
    default_n_jobs = -1

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        *,
        client: Client | None = None,
        pool: Pool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._client = client
        self._options: dict[str, Any] = options if pool is None else {**options, "pool": pool}
        self._open: set[CallFuture[Any]] = set()
        self._functions: dict[Function[..., Any], Function[..., Any]] = {}

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many tasks run at once; a negative number counts from what the platform has."""
        if n_jobs == 0:
            raise InvalidRequestError("n_jobs cannot be 0", field="n_jobs", given="0")
        room = self._room()
        if n_jobs is None:
            return room
        return n_jobs if n_jobs > 0 else max(room + 1 + n_jobs, 1)

    def _room(self) -> int:
        return expected_parallelism(checked_options(self._options), self._calls().connection)

    def _calls(self) -> Calls:
        pool = self._options.get("pool")
        if pool is not None and not isinstance(pool, str):
            calls: Calls = pool.calls
            return calls
        return calls_of(self._client)

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Any], object] | None = None
    ) -> CallFuture[Any]:
        """One call for a batch of tasks."""
        known, before = as_function(func)
        route = self._with_options(known).route(self._calls())
        codec = PayloadCodec(route.session.objects, inline_limit_bytes=_BY_REFERENCE_BYTES)
        encode = partial(codec.encode_arguments, before, {}, durable=route.durable)
        encoded = encode()
        future: CallFuture[Any] = CallFuture(route.session, "joblib")
        put_encoded(route, future, encoded, encode)
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def _with_options(self, function: Function[..., Any]) -> Function[..., Any]:
        found = self._functions.get(function)
        if found is None:
            options = checked_options(self._options)
            found = self._functions[function] = function.options(**options)
        return found

    def retrieve_result_callback(self, out: CallFuture[Any]) -> Any:
        """The batch's results, or what one of its tasks raised."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: FBT001, FBT002
        """Cancel what has not ended: nobody will look at it."""
        del ensure_ready
        for future in list(self._open):
            future.cancel()

    def retrieval_context(self) -> AbstractContextManager[object]:
        """Inside a call, give the slot back while the results are waited for."""
        return waiting_in_worker()


register_parallel_backend("gridloom", GridloomBackend)
