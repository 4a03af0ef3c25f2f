"""Files that jobs bring along: there when a job is accepted, and kept until it is over."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from gridloom_services.common.errors import GridloomServiceError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gridloom_services.scheduler.job import Job
    from gridloom_services.scheduler.spec import JobSpec, Role

_log = logging.getLogger(__name__)


class ObjectKeeper(Protocol):
    """Who stores the files' contents."""

    async def missing(self, digests: frozenset[str]) -> frozenset[str]:
        """Return those that are not there."""

    async def hold(self, holder: str, digests: frozenset[str]) -> None:
        """Keep them until `holder` lets go."""

    async def release(self, holder: str) -> None:
        """Let go of everything that `holder` keeps."""


class MemoryKeeper:
    """The keeper's in-memory twin. What nobody has taken away is there."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.held: dict[str, frozenset[str]] = {}
        self.contents: dict[str, bytes] = {}

    async def missing(self, digests: frozenset[str]) -> frozenset[str]:
        """Return those that were taken away."""
        return digests & self.gone

    async def hold(self, holder: str, digests: frozenset[str]) -> None:
        """Take note."""
        self.held[holder] = self.held.get(holder, frozenset()) | digests

    async def release(self, holder: str) -> None:
        """Take note."""
        self.held.pop(holder, None)

    async def sizes(self, digests: frozenset[str]) -> dict[str, int]:
        """Return the sizes of those that were put here."""
        return {each: len(self.contents[each]) for each in digests & self.contents.keys()}

    async def piece(self, digest: str, offset: int, length: int) -> bytes:
        """Return bytes of what was put here; LookupError."""
        return self.contents[digest][offset : offset + length]


def digests_of(spec: JobSpec) -> frozenset[str]:
    """Return the contents that a job needs."""
    return frozenset(digest for role in spec.roles for digest in _role_digests(role))


def _role_digests(role: Role) -> Iterator[str]:
    yield from (file.digest for file in role.files)
    if role.stdin is not None:
        yield role.stdin.digest


def inputs_holder(job_id: str) -> str:
    """Return who keeps a job's files: not the job itself, which keeps what it brings back."""
    return f"{job_id}/inputs"


class Inputs:
    """Sees to it that a job's files are there as long as it may need them."""

    def __init__(self, keeper: ObjectKeeper) -> None:
        self._keeper = keeper

    async def check(self, specs: Iterable[JobSpec]) -> None:
        """Refuse jobs with a file whose content is not stored."""
        specs = tuple(specs)
        wanted = frozenset[str]().union(*map(digests_of, specs))
        gone = await self._keeper.missing(wanted) if wanted else frozenset[str]()
        for index, spec in enumerate(specs) if gone else ():
            at = f"jobs[{index}]." if len(specs) > 1 else ""
            _refuse_missing(spec, gone, at)

    async def hold(self, jobs: Iterable[Job]) -> None:
        """Keep the files of these jobs. A job whose files cannot be held goes on without."""
        for job in jobs:
            digests = digests_of(job.spec)
            if digests:
                try:
                    await self._keeper.hold(inputs_holder(job.id), digests)
                except GridloomServiceError as error:
                    _log.warning("files not held", extra={"job": job.id, "error": str(error)})

    async def release(self, jobs: Iterable[Job]) -> None:
        """Let go of the files of jobs that are over. What fails is released by age."""
        for job in jobs:
            if digests_of(job.spec):
                try:
                    await self._keeper.release(inputs_holder(job.id))
                except GridloomServiceError as error:
                    _log.warning("files not released", extra={"job": job.id, "error": str(error)})


def _refuse_missing(spec: JobSpec, gone: frozenset[str], at: str) -> None:
    for number, role in enumerate(spec.roles):
        named = [
            (f"files[{index}].object", f'file "{file.path}"', file.digest)
            for index, file in enumerate(role.files)
        ]
        if role.stdin is not None:
            named.append(("stdin", "the standard input", role.stdin.digest))
        for field, what, digest in named:
            if digest in gone:
                raise InvalidRequestError(
                    f"the content of {what} ({digest}) is not stored (any more): send it first",
                    field=f"{at}roles[{number}].{field}",
                    given=digest,
                    allowed="an object that exists",
                )
