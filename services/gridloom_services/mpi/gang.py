"""From a request to the gang that it becomes: a pure function of one value."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gridloom.worker.mpi.spec import OPENMPI, SPEC_VARIABLE, LaunchSpec, to_text

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.common.values import dataclass
from gridloom_services.mpi.request import MILLI

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.mpi.request import MpiRequest

ROLE = "rank"
_AGENT = ("-m", "gridloom.worker.rank_agent")
# Before the job's own limit the agent has so much time to find out where each rank is.
_AHEAD_S = 1.0
_AHEAD_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class RankGang:
    """The role of the ranks: one agent for all of them on a node.

    `files` says where the call and the bundle of a function are to lie. A gang of a function that
    is tried again has what it left before written over.
    """

    replicas: int
    command: tuple[str, ...]
    env: Mapping[str, str]
    outputs: tuple[str, ...]
    files: Mapping[str, str]
    image: str = ""
    per_node: int = 0
    role: str = ROLE
    colocate: bool = True


def rank_gang(request: MpiRequest, default_implementation: str) -> RankGang:
    """The gang of a checked request."""
    folder = f".gridloom-mpi/{hashlib.sha256(request.key.encode()).hexdigest()[:12]}"
    implementation = request.implementation or default_implementation
    spec = _launch_spec(request, implementation, folder)
    files = {"call": spec.call, "bundle": spec.bundle}
    return RankGang(
        replicas=request.ranks,
        command=(request.python or "python3", *_AGENT),
        env={**(request.env or {}), SPEC_VARIABLE: to_text(spec)},
        outputs=(spec.report,),
        files={name: path for name, path in files.items() if path},
        image=request.image,
        per_node=_per_node(request, implementation),
    )


def _per_node(request: MpiRequest, implementation: str) -> int:
    """Open MPI's ranks are all on one node: its launcher needs more than our shim on others."""
    if implementation != OPENMPI:
        return request.per_node
    if 0 < request.per_node < request.ranks:
        raise InvalidRequestError(
            "ranks of Open MPI are all on one node: MPICH is for several",
            field="ranks_per_node",
            given=request.per_node,
            allowed=f"{request.ranks}",
        )
    return request.ranks


def _launch_spec(request: MpiRequest, implementation: str, folder: str) -> LaunchSpec:
    limit_s, limit, is_of_ranks = _limit(request)
    function = request.function
    return LaunchSpec(
        ranks=request.ranks,
        implementation=implementation,
        command=list(request.command),
        threads=request.threads or max(1, _cpus(request)),
        is_bound=request.is_bound,
        timeout_s=limit_s,
        limit=limit,
        is_of_ranks=is_of_ranks,
        function=function.name if function else "",
        call=f"{folder}/call" if function else "",
        bundle=f"{folder}/bundle.zip" if function and function.has_bundle else "",
        root_only=bool(function and function.root_only),
        report=f"{folder}/report",
        idle_timeout_s=request.idle_timeout_s,
    )


def _limit(request: MpiRequest) -> tuple[float | None, str, bool]:
    """The time-out, or what comes shortly before the job's own limit; and how it is called.

    The job's own counts while its hosts gather, a time-out does not.
    """
    timeout_s, limit_s = request.timeout_s, request.time_limit_s
    if timeout_s is not None and (limit_s is None or timeout_s < limit_s):
        return timeout_s, f"time-out of {timeout_s:g} s", True
    if limit_s is None:
        return None, "", False
    return limit_s - min(_AHEAD_S, limit_s * _AHEAD_SHARE), f"time limit of {limit_s:g} s", False


def _cpus(request: MpiRequest) -> int:
    return (request.resources or {}).get("cpu", MILLI) // MILLI
