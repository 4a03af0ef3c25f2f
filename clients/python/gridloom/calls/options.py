"""The words of `@gridloom.function(...)` and `.options(...)`, and what travels of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast

from gridloom import ids, units
from gridloom.api.functions.v1 import pool_pb2, session_pb2
from gridloom.errors import InvalidRequestError
from gridloom.jobs.request import role_resources
from gridloom.jobs.role import Role
from gridloom.jobs.times import duration_of
from gridloom.options import Defaults, check_choice, check_options
from gridloom.profiles.options import profile_kind
from gridloom.retries import Retries
from gridloom.worker.profiling.words import SAMPLING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gridloom.calls.output import Printed
    from gridloom.calls.pool import Pool
    from gridloom.units import Duration, Memory

CONCURRENCY = {
    "processes": pool_pb2.CONCURRENCY_PROCESSES,
    "threads": pool_pb2.CONCURRENCY_THREADS,
    "asyncio": pool_pb2.CONCURRENCY_ASYNCIO,
}


class PoolOptions(TypedDict, total=False):
    """What `client.pool(...)` takes: the workers, and where they wait for their resources."""

    # Each worker.
    cpus: float
    memory: Memory
    gpus: int
    gpu_flavor: str
    resources: Mapping[str, int]
    env: Mapping[str, object]
    image: str
    # All of them.
    workers: int
    min_workers: int
    concurrency: str
    slots: int
    idle_timeout: Duration
    time_limit: Duration
    initializer: Callable[..., object]
    initargs: Iterable[object]
    # Where they wait and how the pool is called.
    queue: str
    project: str
    priority: int
    labels: Mapping[str, object]
    name: str


class CallOptions(PoolOptions, total=False):
    """What a function may be given: of its calls, and of the workers that they ask for."""

    # The pool to use; then nothing is said about workers.
    pool: Pool | str
    # Each call, or each item of a map.
    timeout: Duration
    retries: int | Retries
    at_most_once: bool
    # False: large arguments and results may lie in the machine's memory instead of on its disk.
    durable: bool
    # True or "cprofile" (every call counted), or "sampling": for `future.profile()`.
    profile: bool | str
    # Calls that share the options.
    max_parallel: int
    # What calls print: kept for `future.logs()`; also shown here, or given to a function.
    capture_output: bool
    output: bool | Callable[[Printed], None]


POOL_WORDS = frozenset(PoolOptions.__annotations__)
CALL_WORDS = frozenset(CallOptions.__annotations__)
# These name and label the function's calls; a pool that is made for them has no name.
_OF_CALLS_TOO = {"name", "labels"}
_LONGEST_MS = 2**32 - 1
# The shortest that there can be, in seconds.
_DURATIONS = {"idle_timeout": 0.0, "time_limit": 1.0}
_NO_DEFAULTS = Defaults()


def checked_options(given: Mapping[str, Any]) -> CallOptions:
    """The options; refused where a word is misspelt, contradicts another or can be on no platform.

    What only a platform knows (its queues, how large its nodes are) is refused there.
    """
    check_options(given, CALL_WORDS)
    _check_profile(given)
    if given.get("pool") is not None:
        said = sorted(POOL_WORDS - _OF_CALLS_TOO & given.keys())
        if said:
            raise InvalidRequestError(
                f'"{said[0]}" belongs to the pool: give it to client.pool(), or leave "pool" out',
                field=said[0],
            )
    # A function that says no model may be a coroutine function, whose workers have slots.
    assumed = {} if given.get("pool") is not None else {"concurrency": "asyncio"}
    call_spec(cast("CallOptions", {**assumed, **given}), b"", _NO_DEFAULTS)
    return cast("CallOptions", dict(given))


def _check_profile(given: Mapping[str, Any]) -> None:
    profile = given.get("profile")
    if profile_kind(profile) and profile is not True and given.get("concurrency") == "threads":
        check_choice("profile", str(profile), [SAMPLING])  # counting sees all threads at once


def call_spec(
    options: CallOptions, digest: bytes, defaults: Defaults, *, python: str = ""
) -> session_pb2.CallSpec:
    """What the calls of a function with these options share; its number and group are not set.

    `python` is the interpreter for the workers, where client and platform share a machine.
    """
    spec = session_pb2.CallSpec(
        function_digest=digest,
        timeout_ms=_milliseconds(options, "timeout"),
        capture_output=bool(options.get("capture_output") or options.get("output")),
        at_most_once=bool(options.get("at_most_once")),
        not_durable=not options.get("durable", True),
        max_parallel=units.whole(options.get("max_parallel", 0), field="max_parallel"),
        labels=_texts(options.get("labels", {}), "labels"),
        name=_text(options, "name"),
    )
    retries = call_retries(Retries.of(options.get("retries")))
    if retries is not None:
        spec.retries.CopyFrom(retries)
    pool = options.get("pool")
    if pool is not None:
        spec.pool_id = _pool_id(pool)
    else:
        shared = {word: value for word, value in options.items() if word not in _OF_CALLS_TOO}
        spec.pool.CopyFrom(pool_spec(cast("PoolOptions", shared), defaults, python=python))
    return spec


def pool_spec(
    options: PoolOptions,
    defaults: Defaults,
    *,
    python: str = "",
) -> pool_pb2.PoolSpec:
    """The workers that the options ask for, without their initialiser."""
    concurrency = options.get("concurrency", "processes")
    check_choice("concurrency", concurrency, CONCURRENCY)
    workers = units.whole(options.get("workers", 0), field="workers")
    spec = pool_pb2.PoolSpec(
        name=_text(options, "name"),
        project=_text(options, "project") or defaults.project,
        queue=_text(options, "queue") or defaults.queue,
        workers=workers,
        min_workers=units.whole(
            options.get("min_workers", 0), field="min_workers", most=workers or 2**31 - 1
        ),
        concurrency=CONCURRENCY[concurrency],
        slots=_slots(options, concurrency),
        resources=_resources(options),
        python=python,
        python_version=PYTHON_VERSION,
        image=_text(options, "image"),
        env=_texts(options.get("env", {}), "env"),
        labels=_texts(options.get("labels", {}), "labels"),
        priority=units.whole(options.get("priority", 0), field="priority", least=-(2**31)),
    )
    for word, least in _DURATIONS.items():
        given: Any = options.get(word)
        if given is not None:
            seconds = units.seconds(given, field=word, least=least)
            getattr(spec, word).CopyFrom(duration_of(seconds))
    return spec


def call_retries(retries: Retries) -> session_pb2.CallRetries | None:
    """The retries as calls have them; None: the platform's own rule for everything."""
    if retries == Retries():
        return None
    for word in ("preempted", "evicted", "unschedulable"):
        if getattr(retries, word) is not None:
            raise InvalidRequestError(
                f"retries.{word} is of jobs: calls of a pool that was {word} always run again",
                field=f"retries.{word}",
            )
    return session_pb2.CallRetries(
        error=retries.error or 0,
        worker_died=retries.node_lost,
        timeout=retries.time_limit or 0,
        out_of_memory=retries.out_of_memory or 0,
        backoff_ms=_pause_ms(retries.backoff, "retries.backoff"),
        max_backoff_ms=_pause_ms(retries.max_backoff, "retries.max_backoff"),
    )


PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def _resources(options: PoolOptions) -> dict[str, int]:
    return role_resources(
        Role(
            "worker",
            (),
            cpus=options.get("cpus"),
            memory=options.get("memory"),
            gpus=options.get("gpus"),
            gpu_flavor=options.get("gpu_flavor"),
            resources=options.get("resources", {}),
        )
    )


def _slots(options: PoolOptions, concurrency: str) -> int:
    slots = units.whole(options.get("slots", 0), field="slots")
    if slots > 1 and concurrency == "processes":
        allowed = '1 where concurrency is "processes": raise workers instead'
        raise InvalidRequestError(
            f"slots cannot be {slots}; allowed: {allowed}",
            field="slots",
            given=str(slots),
            allowed=allowed,
        )
    return slots


def _text(options: Mapping[str, Any], word: str) -> str:
    given = options.get(word)
    if given is None or isinstance(given, str):
        return given or ""
    raise InvalidRequestError(
        f"{word} cannot be {given!r}; give text", field=word, given=repr(given), allowed="text"
    )


def _pool_id(pool: Pool | str) -> str:
    identifier = str(pool if isinstance(pool, str) else getattr(pool, "id", pool))
    if not identifier.startswith("pool_") or ids.kind_of(identifier) != "pool":
        raise InvalidRequestError(
            f'pool cannot be "{identifier}"; give a pool or its id',
            field="pool",
            given=identifier,
            allowed="what client.pool() gave, or pool_...",
        )
    return identifier


def _milliseconds(options: CallOptions, word: str) -> int:
    """Of a duration, at least one; 0 where nothing was said."""
    given: Any = options.get(word)
    if given is None:
        return 0
    seconds = units.seconds(given, field=word, least=0.001)
    return min(round(seconds * 1000), _LONGEST_MS)


def _pause_ms(given: Duration | None, field: str) -> int:
    return 0 if given is None else min(round(units.seconds(given, field=field) * 1000), _LONGEST_MS)


def _texts(given: Mapping[str, object], field: str) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise InvalidRequestError(
            f"{field} cannot be {given!r}; give a mapping of names to text",
            field=field,
            given=repr(given),
            allowed="a mapping of names to text",
        )
    for name, value in given.items():
        if value is None or not isinstance(name, str):
            raise InvalidRequestError(
                f"{field}[{name!r}] cannot be {value!r}; give text",
                field=f"{field}[{name!r}]",
                given=repr(value),
                allowed="text",
            )
    return {name: str(value) for name, value in given.items()}
