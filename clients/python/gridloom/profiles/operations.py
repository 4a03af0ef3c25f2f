"""Profiles from the platform, for every face: see `gridloom.operation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from gridloom import errors, ids
from gridloom.jobs import operations as job_operations
from gridloom.operation import Blocking
from gridloom.profiles.profile import decoded, merged
from gridloom.worker.profiling.words import ASKED, FOLDER

if TYPE_CHECKING:
    from gridloom.channel import Connection
    from gridloom.jobs.info import JobInfo, OutputInfo
    from gridloom.operation import Operation
    from gridloom.profiles.profile import Profile

_ADVICE = "run it again with profile=True"


def profile_of(identifier: str, rank: int | None = None) -> Operation[Profile]:
    """Of a job, a call, or all calls of a group; of one rank where it is said."""
    if ids.kind_of(identifier) == "job":
        return (yield from job_profile(identifier, rank))
    if rank is not None:
        raise errors.InvalidRequestError(
            f"{identifier} has no ranks", field="rank", given=str(rank)
        )
    found: Profile = yield Blocking(lambda connection: calls_profile(connection, identifier))
    return found


def job_profile(job_id: str, rank: int | None = None) -> Operation[Profile]:
    """Of an MPI job that is over: of one rank, or of all together."""
    job = yield from job_operations.get(job_id)
    if not job.state.is_final:
        raise errors.ConflictError(f"{job.id} is {job.state}: its profile comes when it is over")
    left = _left_by_rank(job)
    ranks = sum(role.replicas for role in job.roles)
    if rank is not None and not 0 <= rank < ranks:
        raise errors.InvalidRequestError(
            f"{job.id} has no rank {rank}; its ranks: 0 to {ranks - 1}",
            field="rank",
            given=str(rank),
        )
    if not left or (rank is not None and rank not in left):
        _refuse(job, rank)
    wanted = left if rank is None else {rank: left[rank]}
    by_rank: dict[int, Profile] = yield Blocking(lambda connection: _read(connection, wanted))
    if rank is not None:
        return by_rank[rank]
    return merged(by_rank.values(), by_rank)


def calls_profile(connection: Connection, identifier: str) -> Profile:
    """Of a call or all calls of a group, from their results."""
    from gridloom.api.functions.v1 import call_pb2
    from gridloom.calls.reading import ResultsFollowing
    from gridloom.objects import ObjectsClient
    from gridloom.payload import PayloadCodec
    from gridloom.worker.profiling.function import collected

    codec = PayloadCodec(ObjectsClient(connection))
    parts = list(connection.follow(ResultsFollowing(identifier, follow=False)))
    with collected() as found:
        for part in parts:
            if part.status == call_pb2.CALL_STATUS_OK:
                codec.decode(part.value)
            else:
                error = call_pb2.CallError.FromString(part.value)
                errors.exception_from_call_error(part.status, error)
    if found:
        return merged(decoded(each) for each in found)
    if not parts:
        raise errors.ConflictError(f"{identifier} has no result yet, and so no profile")
    raise errors.NotFoundError(f"{identifier} ran without a profile: {_ADVICE}", id=identifier)


def _left_by_rank(job: JobInfo) -> dict[int, list[OutputInfo]]:
    """What each rank has left: one file a call."""
    found: dict[int, list[OutputInfo]] = {}
    for output in job.outputs:
        folder, _, name = output.path.rpartition("/")
        word, _, numbers = name.partition(".")
        rank = numbers.partition(".")[0]
        if folder == FOLDER and word == "rank" and rank.isdigit() and name.count(".") == 2:  # noqa: PLR2004
            found.setdefault(int(rank), []).append(output)
    return dict(sorted(found.items()))


def _read(connection: Connection, left: dict[int, list[OutputInfo]]) -> dict[int, Profile]:
    from gridloom.jobs.outputs import content

    return {
        rank: merged(decoded(content(connection, output)) for output in outputs)
        for rank, outputs in left.items()
    }


def _refuse(job: JobInfo, rank: int | None) -> NoReturn:
    if not any(output.path == f"{FOLDER}/{ASKED}" for output in job.outputs):
        message = f"{job.id} ran without a profile: {_ADVICE}"
    elif rank is None:
        message = f"no rank of {job.id} ended by itself, so none has left a profile"
    else:
        message = f"rank {rank} of {job.id} was ended before it could leave its profile"
    raise errors.NotFoundError(message, id=job.id)
