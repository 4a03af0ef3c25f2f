"""From the words of `client.run` to the job that travels: pure, whole, and checked on the way.

A `JobDraft` is everything but the digests of its files, which are known once they are sent.
"""

from __future__ import annotations

import marshal
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gridloom import units
from gridloom.api.scheduler.v1 import job_pb2
from gridloom.errors import InvalidRequestError
from gridloom.jobs.array import parse_array
from gridloom.jobs.dependencies import job_ids
from gridloom.jobs.files import (
    SHELL,
    PlannedFile,
    planned_files,
    planned_stdin,
    program_file,
    program_word,
)
from gridloom.jobs.options import OPTION_NAMES, JobOptions
from gridloom.jobs.role import Command, Role
from gridloom.jobs.times import duration_of, timestamp_of
from gridloom.options import check_options
from gridloom.retries import Retries
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gridloom.api.objects.v1.objects_pb2 import ObjectRef

# The format of `marshal` in which equal values have equal bytes.
_WITHOUT_REFERENCES = 2
GPU_RESOURCE = "nvidia.com/gpu"
_ROLE_WORDS = (
    "cpus",
    "memory",
    "gpus",
    "gpu_flavor",
    "resources",
    "env",
    "files",
    "stdin",
    "outputs",
    "image",
    "workdir",
    "volumes",
    "secrets",
    "shell",
    "replicas",
)
_CONDITIONS = {
    "after": job_pb2.Dependency.CONDITION_AFTER_OK,
    "after_any": job_pb2.Dependency.CONDITION_AFTER_ANY,
    "after_failure": job_pb2.Dependency.CONDITION_AFTER_FAILURE,
}
_FAILURES = {
    "error": job_pb2.FAILURE_CLASS_APPLICATION_ERROR,
    "node_lost": job_pb2.FAILURE_CLASS_NODE_LOST,
    "preempted": job_pb2.FAILURE_CLASS_PREEMPTED,
    "out_of_memory": job_pb2.FAILURE_CLASS_OUT_OF_MEMORY,
    "time_limit": job_pb2.FAILURE_CLASS_TIME_LIMIT,
    "evicted": job_pb2.FAILURE_CLASS_EVICTED,
    "unschedulable": job_pb2.FAILURE_CLASS_UNSCHEDULABLE,
}


@dataclass(frozen=True, slots=True)
class JobDraft:
    """A job without its files, and for each of its roles the files that it lacks."""

    spec: job_pb2.JobSpec
    files: tuple[tuple[PlannedFile, ...], ...]

    def with_objects(self, refs: Sequence[Sequence[ObjectRef]]) -> job_pb2.JobSpec:
        """The whole job: `refs` are the stored files, in the order of `files`."""
        if not any(refs):
            return self.spec
        spec = job_pb2.JobSpec()
        spec.CopyFrom(self.spec)
        for role, planned, stored in zip(spec.roles, self.files, refs, strict=True):
            for file, ref in zip(planned, stored, strict=True):
                if file.is_stdin:
                    role.stdin.CopyFrom(ref)
                else:
                    role.files.add(path=file.path, object=ref, mode=file.mode)
        return spec

    def with_command(self, command: Sequence[str]) -> JobDraft:
        """The same with a request of its own and other arguments: see `words_in_common`."""
        spec = job_pb2.JobSpec()
        spec.CopyFrom(self.spec)
        spec.request_id = _request_id()
        spec.roles[0].command[:] = command
        return JobDraft(spec, self.files)


def words_in_common(command: object, options: Mapping[str, object]) -> bytes:
    """What jobs have in common that differ by their arguments and by their requests' ids alone.

    Nothing where that is not plain to see: of other values than Python's own, of a shell's line,
    of a request that is named.
    """
    if type(command) not in {list, tuple} or not command or "request_id" in options:
        return b""
    words: Sequence[object] = command  # type: ignore[assignment]
    if any(type(word) is not str for word in words) or words[0] == SHELL[0] or options.get("shell"):
        return b""
    # The name and the file that travels follow from these two.
    program = words[0], program_word(cast("Sequence[str]", words))
    try:
        return marshal.dumps((program, options), _WITHOUT_REFERENCES)  # type: ignore[arg-type]
    except ValueError:
        return b""


def _request_id() -> str:
    return f"sdk-{os.urandom(16).hex()}"


def job_draft(
    command: Command | None, options: JobOptions, *, folder: Path, project: str, queue: str
) -> JobDraft:
    """The job that these words ask for; `project` and `queue` hold where the words say nothing.

    Paths are taken from `folder`. Everything that can be seen to be wrong from here is refused.
    """
    check_options(options, OPTION_NAMES)
    roles = _roles(command, options)
    spec = job_pb2.JobSpec(
        name=options.get("name") or _name(roles[0]),
        project=options.get("project") or project,
        queue=options.get("queue") or queue,
        priority=units.whole(options.get("priority", 0), field="priority", least=-(2**31)),
        kind="command",
        roles=[role_spec(role) for role in roles],
        labels=_texts(options.get("labels", {}), "labels"),
        request_id=options.get("request_id") or _request_id(),
        hold=options.get("hold", False),
    )
    if options.get("retries") is not None:
        spec.retry.CopyFrom(retry_policy(Retries.of(options["retries"])))
    _set_times(spec, options)
    _set_dependencies(spec, options)
    _set_array(spec, options)
    return JobDraft(spec, tuple(tuple(_role_files(role, folder)) for role in roles))


def command_words(command: Command, *, shell: bool) -> list[str]:
    """The program and its arguments; a whole line is for a shell only."""
    if isinstance(command, str):
        if shell:
            return [*SHELL, command]
        if len(command.split()) != 1:
            raise InvalidRequestError(
                f'command "{command}" is one string: give a list of words, or shell=True',
                field="command",
                given=command,
                allowed='["program", "argument"] or shell=True',
            )
        return [command]
    if not isinstance(command, Iterable):
        raise InvalidRequestError(
            f"command cannot be {command!r}; give a list of words, or a line with shell=True",
            field="command",
            given=repr(command),
        )
    words = [_word(word) for word in command]
    if not words or not words[0]:
        raise InvalidRequestError("command is empty", field="command", given=repr(command))
    return [*SHELL, shlex.join(words)] if shell else words


def role_spec(role: Role) -> job_pb2.Role:
    """One role as it travels, without its files."""
    replicas = units.whole(role.replicas, field="replicas", least=1)
    # 0: the role is not elastic.
    least = units.whole(role.min_replicas or 0, field="min_replicas", most=replicas)
    return job_pb2.Role(
        name=role.name,
        replicas=replicas,
        min_replicas=least,
        colocate=role.colocate,
        image=role.image or "",
        command=command_words(role.command, shell=role.shell),
        env=_texts(role.env, "env"),
        outputs=[role.outputs] if isinstance(role.outputs, str) else list(role.outputs),
        resources=role_resources(role),
        workdir=role.workdir or "",
        volumes=[_volume(path, claim) for path, claim in role.volumes.items()],
        secrets=[_secret(target, place) for target, place in role.secrets.items()],
    )


def _volume(path: str, claim: str) -> job_pb2.Volume:
    name = claim.removesuffix(":ro")
    return job_pb2.Volume(claim=name, mount_path=path, read_only=name != claim)


def _secret(target: str, place: str) -> job_pb2.Secret:
    name, separator, key = place.partition("/")
    if not (name and separator and key):
        # Not what was given: somebody may have taken the place of the secret itself.
        raise InvalidRequestError(
            f'secret "{target}" names no place; NAME/KEY is expected: the name of a secret in the'
            " cluster, and a key in it",
            field="secrets",
            allowed="NAME/KEY",
        )
    return job_pb2.Secret(name=name, key=key, target=target)


def role_resources(role: Role) -> dict[str, int]:
    """Per replica, in the scheduler's units. A job that says nothing gets one CPU."""
    resources = {
        name: units.whole(amount, field=f"resources[{name!r}]", most=2**63 - 1)
        for name, amount in role.resources.items()
    }
    if role.cpus is not None or "cpu" not in resources:
        resources["cpu"] = units.cpu_thousandths(1 if role.cpus is None else role.cpus)
    if role.memory is not None:
        resources["memory"] = units.memory_bytes(role.memory)
    if role.gpus:
        resources[gpu_resource(role.gpu_flavor)] = units.whole(role.gpus, field="gpus")
    elif role.gpu_flavor:
        raise InvalidRequestError("gpu_flavor needs gpus", field="gpu_flavor")
    return resources


def gpu_resource(flavor: str | None) -> str:
    """The resource that a flavour names: "mig-1g.5gb" is NVIDIA's, "amd.com/gpu" is itself."""
    if not flavor:
        return GPU_RESOURCE
    return flavor if "/" in flavor else f"nvidia.com/{flavor}"


def retry_policy(retries: Retries) -> job_pb2.RetryPolicy:
    """The rules that were given; the scheduler has its own for the other classes."""
    policy = job_pb2.RetryPolicy()
    for word, failure in _FAILURES.items():
        count = getattr(retries, word)
        if count is not None:
            policy.rules.add(failure_class=failure, retries=count)
    for word in ("backoff", "max_backoff"):
        given = getattr(retries, word)
        if given is not None:
            pause = duration_of(units.seconds(given, field=f"retries.{word}"))
            getattr(policy, word).CopyFrom(pause)
    return policy


def _roles(command: Command | None, options: JobOptions) -> list[Role]:
    said: dict[str, Any] = {word: value for word, value in options.items() if word in _ROLE_WORDS}
    if "roles" not in options:
        if command is None:
            raise InvalidRequestError("there is no command", field="command")
        return [Role("main", command, **said)]
    doubled = "command" if command is not None else next(iter(said), None)
    if doubled:
        raise InvalidRequestError(
            f"{doubled} belongs to each role when there are roles", field=doubled
        )
    roles = list(options["roles"])
    names = [role.name for role in roles]
    if not roles or len(set(names)) < len(names):
        raise InvalidRequestError(
            "roles need different names" if roles else "roles is empty", field="roles"
        )
    return roles


def _name(role: Role) -> str:
    program = program_word(command_words(role.command, shell=role.shell))
    return program.rstrip("/").rpartition("/")[2] or role.name


def _word(word: object) -> str:
    """A word of a command: text, a path or a number."""
    if isinstance(word, str | Path | int | float):
        return str(word)
    raise InvalidRequestError(
        f"a command's words are text, not {word!r}", field="command", given=repr(word)
    )


def _texts(given: Mapping[str, object], field: str) -> dict[str, str]:
    """Values as text: numbers as they are written; None has no text."""
    for name, value in given.items():
        if value is None or not isinstance(name, str):
            raise InvalidRequestError(
                f"{field}[{name!r}] cannot be {value!r}; give text",
                field=f"{field}[{name!r}]",
                given=repr(value),
                allowed="text",
            )
    return {name: str(value) for name, value in given.items()}


def _set_times(spec: job_pb2.JobSpec, options: JobOptions) -> None:
    if "time_limit" in options:
        limit = units.seconds(options["time_limit"], field="time_limit", least=1)
        spec.time_limit.CopyFrom(duration_of(limit))
    if "start_after" in options:
        moment = units.point(options["start_after"], field="start_after")
        spec.start_after.CopyFrom(timestamp_of(moment))
    if "deadline" in options:
        spec.deadline.CopyFrom(timestamp_of(units.point(options["deadline"], field="deadline")))


def _set_dependencies(spec: job_pb2.JobSpec, options: JobOptions) -> None:
    for word, condition in _CONDITIONS.items():
        given = options.get(word)
        for job_id in () if given is None else job_ids(given, field=word):  # type: ignore[arg-type]
            spec.dependencies.add(job_id=job_id, condition=condition)


def _set_array(spec: job_pb2.JobSpec, options: JobOptions) -> None:
    if "array" not in options:
        if "max_parallel" in options:
            raise InvalidRequestError("max_parallel needs an array", field="max_parallel")
        return
    array = parse_array(options["array"], options.get("max_parallel"))
    for part in array.ranges:
        spec.array.ranges.add(first=part.first, last=part.last, step=part.step)
    spec.array.max_parallel = array.max_parallel


def _role_files(role: Role, folder: Path) -> Iterator[PlannedFile]:
    """What was named, what is to be read, and the program itself where that is the user's file."""
    yield from planned_stdin(role.stdin, folder)
    named = planned_files(role.files, folder)
    program = None
    if not role.workdir:
        program = program_file(command_words(role.command, shell=role.shell), folder)
    if program is not None and str(program) not in {file.path for file in named}:
        yield from planned_files([program], folder)
    seen: set[str] = set()
    for file in named:
        if file.path in seen:
            raise InvalidRequestError(
                f'two files would both be called "{file.path}" there', field="files"
            )
        seen.add(file.path)
        yield file
