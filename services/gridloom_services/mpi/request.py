"""What is asked of the service, as a value; and what of it cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from gridloom.worker.mpi.spec import IMPLEMENTATIONS

from gridloom_services.common.errors import InvalidRequestError, VersionMismatchError
from gridloom_services.common.values import dataclass
from gridloom_services.common.worker_images import PYTHONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.common.worker_images import WorkerImages

MOST_RANKS = 10_000
MOST_THREADS = 1_024
MILLI = 1000


@dataclass(frozen=True, slots=True)
class Function:
    """A function of Python that every rank runs. Its pickles are objects, and stay closed here."""

    name: str
    has_bundle: bool = False
    root_only: bool = False


@dataclass(frozen=True, slots=True)
class MpiRequest:
    """One MPI job: either a `command` or a `function`, on `ranks` ranks.

    `per_node` ranks are on each node, on the last one the rest; 0: as the plan has it.
    `resources` are of one rank, "cpu" in thousandths. `python` is the interpreter where ranks have
    no `image`, else it is the image's. `key` is the same for the same request.
    """

    ranks: int
    per_node: int = 0
    command: tuple[str, ...] = ()
    function: Function | None = None
    implementation: str = ""
    threads: int = 0
    is_bound: bool = False
    timeout_s: float | None = None
    time_limit_s: float | None = None
    idle_timeout_s: float | None = None
    resources: Mapping[str, int] | None = None
    env: Mapping[str, str] | None = None
    image: str = ""
    python: str = ""
    python_version: str = ""
    key: str = ""


def checked(request: MpiRequest) -> MpiRequest:
    """The request; an InvalidRequestError names what cannot be in it."""
    _check_range("ranks", request.ranks, 1, MOST_RANKS)
    _check_range("ranks_per_node", request.per_node, 0, request.ranks)
    _check_range("threads", request.threads, 0, MOST_THREADS)
    if request.implementation not in {"", *IMPLEMENTATIONS}:
        _refuse("implementation", request.implementation, " or ".join(IMPLEMENTATIONS))
    if bool(request.command) == (request.function is not None):
        _refuse("command", list(request.command), "either a program or a function")
    for field in ("timeout_s", "idle_timeout_s"):
        given = getattr(request, field)
        if given is not None and given <= 0:
            _refuse(field.removesuffix("_s"), given, "more than 0 s")
    if request.idle_timeout_s is not None and request.function is None:
        _refuse("idle_timeout", request.idle_timeout_s, "for functions only")
    if request.function is not None and request.python_version not in PYTHONS:
        raise VersionMismatchError(
            f"functions of Python {request.python_version or '(not said)'} cannot run here",
            field="python_version",
            given=request.python_version,
            allowed=", ".join(PYTHONS),
        )
    return request


def in_image(request: MpiRequest, images: WorkerImages) -> MpiRequest:
    """The request with the image that its ranks run in; as it is where there are none.

    A function needs the Python that it comes from: VersionMismatchError names those that there are.
    """
    if not images.by_python:
        return request
    find = images.nearest if request.function is None else images.equal
    return replace(request, image=request.image or find(request.python_version), python="")


def _check_range(field: str, given: int, least: int, most: int) -> None:
    if not least <= given <= most:
        _refuse(field, given, f"{least} to {most:,}")


def _refuse(field: str, given: object, allowed: str) -> NoReturn:
    shown = f'"{given}"' if isinstance(given, str) else given
    raise InvalidRequestError(
        f"{field} cannot be {shown}; allowed: {allowed}", field=field, given=given, allowed=allowed
    )
