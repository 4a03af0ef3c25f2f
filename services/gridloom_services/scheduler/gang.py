"""What a job's attempt is to the runtime, as a pure value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.scheduler.runtime.base import Gang, GangRole, Placement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.job import Job, LiveGang
    from gridloom_services.scheduler.spec import Role

INDEX = "{index}"


def gang_of(job: Job, live: LiveGang, roles: tuple[Role, ...], token: str, address: str) -> Gang:
    """Return the gang of an attempt.

    `roles` are the job's with the memory that this attempt gets. `{index}` in an array's commands
    and environment values becomes the element's own number.
    """
    array = job.spec.array
    number = None if array is None else array.number(live.element)
    env = {"GRIDLOOM_PROJECT": job.spec.project}
    if address:
        env["GRIDLOOM_ADDRESS"] = address
    if number is not None:
        env["GRIDLOOM_ARRAY_INDEX"] = str(number)
    return Gang(
        name=live.name,
        job_id=job.id,
        attempt=live.attempt,
        roles=tuple(_role(role, live, number) for role in roles),
        element=number,
        env=env,
        token=token,
        time_limit_s=job.time_limit_s,
    )


def _role(role: Role, live: LiveGang, number: int | None) -> GangRole:
    return GangRole(
        name=role.name,
        replicas=tuple(each.index for each in live.placement if each.role == role.name),
        command=tuple(_numbered(argument, number) for argument in role.command),
        colocate=role.colocate,
        image=role.image,
        env=_numbered_values(role.env, number),
        files=role.files,
        outputs=role.outputs,
        resources=dict(role.resources),
        workdir=role.workdir,
        volumes=role.volumes,
        secrets=role.secrets,
        stdin=role.stdin,
    )


def _numbered(text: str, number: int | None) -> str:
    return text if number is None else text.replace(INDEX, str(number))


def _numbered_values(env: Mapping[str, str], number: int | None) -> dict[str, str]:
    return {name: _numbered(value, number) for name, value in env.items()}


def start_placement(live: LiveGang) -> Placement:
    """Return the replicas to start with: those placed that are not on their way out."""
    return tuple(each for each in live.placement if (each.role, each.index) not in live.leaving)
