"""What a specification must satisfy by itself, whatever queues and nodes there are.

Each check returns or raises InvalidRequestError with the field, what was given and what is allowed.
"""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NoReturn

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.scheduler.engine.events import MAX_AMOUNT, MAX_ROLES
from gridloom_services.scheduler.queue import LONGEST_TIME_LIMIT_S
from gridloom_services.scheduler.selector import LABEL_KEY, LABEL_VALUE
from gridloom_services.scheduler.spec import DEFAULT_RETRY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gridloom_services.scheduler.runtime.base import InputFile
    from gridloom_services.scheduler.spec import ArraySpec, JobSpec, Range, RetryPolicy, Role

MAX_ELEMENTS = 1_000_000
MAX_REPLICAS = 10_000
MAX_FILES = 10_000
MAX_DEPENDENCIES = 1_000
MAX_LABELS = 64
MAX_PRIORITY = 10_000
MAX_RETRIES = 1_000
MAX_NAME = 256
# Linux refuses a longer single argument or environment variable (MAX_ARG_STRLEN).
MAX_ARGUMENT_BYTES = 131_071
MAX_ARGUMENTS_BYTES = 1 << 20
MAX_NUMBER = (1 << 31) - 1

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ROLE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,30}[a-z0-9])?")
_REQUEST = re.compile(r"[!-~]{0,128}")
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESOURCE = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_./]{0,126}[A-Za-z0-9])?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

# All of a role but its command, by which alike jobs mostly differ: what is equal, and what is one.
_WORDS = attrgetter(
    "name", "replicas", "min_replicas", "elastic", "per_node", "image", "workdir", "stdin"
)
_PARTS = attrgetter("env", "files", "outputs", "volumes", "secrets", "resources")

# What a runtime tells each process; a job's own environment may not say otherwise.
RESERVED_ENVIRONMENT = frozenset(
    f"GRIDLOOM_{name}"
    for name in (
        "TOKEN",
        "JOB_ID",
        "ATTEMPT",
        "ROLE",
        "REPLICA_INDEX",
        "REPLICAS",
        "HOSTS",
        "NODE",
        "WORKDIR",
        "ARRAY_INDEX",
    )
)


def refuse(field: str, given: object, allowed: str) -> NoReturn:
    """Raise the refusal of a value."""
    shown = repr(given) if isinstance(given, str) else str(given)
    shown = shown if len(shown) <= MAX_NAME else f"{shown[:MAX_NAME]}..."
    raise InvalidRequestError(
        f"{field} cannot be {shown}: {allowed}", field=field, given=shown, allowed=allowed
    )


class SpecChecks:
    """Checks the specifications of one request. A part that several of them share is checked once.

    They must outlive this object: it knows shared parts by their identity.
    """

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us
        self._seen: set[object] = set()

    def check(self, spec: JobSpec, at: str = "") -> None:
        """Check everything about a specification; `at` comes before the names of fields."""
        _check_names(spec, at)
        check_between(f"{at}priority", spec.priority, -MAX_PRIORITY, MAX_PRIORITY)
        if spec.time_limit_s is not None:
            check_between(f"{at}time_limit", spec.time_limit_s, 1, LONGEST_TIME_LIMIT_S, "s")
        _check_times(spec, self._now_us, at)
        if self._is_new(id(spec.labels)):
            _check_labels(spec.labels, at)
        if self._is_new(id(spec.retry)):
            _check_retry(spec.retry, at)
        if spec.array is not None:
            _check_array(spec.array, f"{at}array")
        if len(spec.dependencies) > MAX_DEPENDENCIES:
            refuse(f"{at}dependencies", len(spec.dependencies), f"at most {MAX_DEPENDENCIES}")
        self._check_roles(spec.roles, at)

    def _check_roles(self, roles: tuple[Role, ...], at: str) -> None:
        _check_count(f"{at}roles", roles, 1, MAX_ROLES)
        for index, role in enumerate(roles):
            _check_command(role.command, f"{at}roles[{index}]")
            if self._is_new((_WORDS(role), *map(id, _PARTS(role)))):
                _check_role(role, f"{at}roles[{index}]")
        if len(roles) > 1:
            _check_unique(f"{at}roles", (role.name for role in roles), "each role's name once")

    def _is_new(self, part: object) -> bool:
        """Say whether this is seen for the first time. What is wrong ends the request."""
        before = len(self._seen)
        self._seen.add(part)
        return len(self._seen) > before


def _check_names(spec: JobSpec, at: str) -> None:
    if len(spec.name) > MAX_NAME or not spec.name.isprintable():
        refuse(f"{at}name", spec.name, f"at most {MAX_NAME} printable characters")
    if not _KIND.fullmatch(spec.kind):
        refuse(f"{at}kind", spec.kind, "lower-case letters, digits, _ and -, a letter first")
    if not _REQUEST.fullmatch(spec.request_id):
        refuse(f"{at}request_id", spec.request_id, "at most 128 printable ASCII characters")


def _check_times(spec: JobSpec, now_us: int, at: str) -> None:
    if spec.deadline_us is None:
        return
    if spec.deadline_us <= now_us:
        refuse(f"{at}deadline", _shown_moment(spec.deadline_us), "a point to come")
    if spec.start_after_us is not None and spec.start_after_us >= spec.deadline_us:
        refuse(f"{at}start_after", "not before the deadline", "a point before the deadline")


def _shown_moment(moment_us: int) -> str:
    """Return a point in the past as people write it, not before 1970."""
    return datetime.fromtimestamp(max(0, moment_us) // 1_000_000, UTC).isoformat()


def _check_labels(labels: Mapping[str, str], at: str) -> None:
    if len(labels) > MAX_LABELS:
        refuse(f"{at}labels", len(labels), f"at most {MAX_LABELS}")
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key):
            refuse(f"{at}labels", key, "as a key [prefix/]name: letters, digits, - _ . (63)")
        if not LABEL_VALUE.fullmatch(value):
            refuse(f"{at}labels.{key}", value, "at most 63 letters, digits, - _ .")


def _check_retry(retry: RetryPolicy, at: str) -> None:
    if retry is DEFAULT_RETRY:
        return
    for failure, count in retry.retries.items():
        check_between(f"{at}retry.rules.{failure.label}", count, 0, MAX_RETRIES)
    longest_us = LONGEST_TIME_LIMIT_S * 1_000_000
    check_between(f"{at}retry.backoff", retry.backoff_us, 0, longest_us, "us")
    check_between(
        f"{at}retry.max_backoff", retry.max_backoff_us, retry.backoff_us, longest_us, "us"
    )


def _check_array(array: ArraySpec, at: str) -> None:
    _check_count(f"{at}.ranges", array.ranges, 1, MAX_FILES)
    for index, part in enumerate(array.ranges):
        _check_range(part, f"{at}.ranges[{index}]")
    if array.size > MAX_ELEMENTS:
        refuse(f"{at}.ranges", f"{array.size} elements", f"at most {MAX_ELEMENTS}")
    _check_disjoint(array, at)
    check_between(f"{at}.max_parallel", array.max_parallel, 0, MAX_NUMBER)


def _check_range(part: Range, at: str) -> None:
    check_between(f"{at}.first", part.first, 0, MAX_NUMBER)
    check_between(f"{at}.last", part.last, part.first, MAX_NUMBER - 1)
    check_between(f"{at}.step", part.step, 1, MAX_NUMBER)


def _check_disjoint(array: ArraySpec, at: str) -> None:
    """Check that no number comes twice; ranges that do not overlap cost nothing."""
    spans = sorted((part.first, part.last) for part in array.ranges)
    if all(one[1] < other[0] for one, other in itertools.pairwise(spans)):
        return
    numbers = (number for part in array.ranges for number in part.numbers)
    _check_unique(f"{at}.ranges", numbers, "each element's number once")


def _check_role(role: Role, at: str) -> None:
    if not _ROLE.fullmatch(role.name):
        refuse(f"{at}.name", role.name, "at most 32 lower-case letters, digits and inner -")
    check_between(f"{at}.replicas", role.replicas, 1, MAX_REPLICAS)
    check_between(f"{at}.min_replicas", role.min_replicas, 1, role.replicas)
    check_between(f"{at}.per_node", role.per_node, 0, 0 if role.elastic else role.replicas)
    _check_environment(role.env, f"{at}.env")
    _check_count(f"{at}.files", role.files, 0, MAX_FILES)
    _check_files(role.files, f"{at}.files")
    if role.stdin is not None:
        _check_digest(f"{at}.stdin", role.stdin.digest)
    _check_count(f"{at}.outputs", role.outputs, 0, MAX_FILES)
    for index, path in enumerate(role.outputs):
        _check_path(f"{at}.outputs[{index}]", path)
    check_resources(role.resources, f"{at}.resources")
    if role.workdir and not _is_clean(role.workdir, absolute=True):
        refuse(f"{at}.workdir", role.workdir, 'an absolute path without ".."')
    if not role.image.isprintable() or " " in role.image:
        refuse(f"{at}.image", role.image, "a reference without spaces")
    _check_mounts(role, at)


def _check_mounts(role: Role, at: str) -> None:
    for index, volume in enumerate(role.volumes):
        if not volume.claim or not _is_clean(volume.mount_path, absolute=True):
            refuse(f"{at}.volumes[{index}]", volume, 'a claim and an absolute path without ".."')
    for index, secret in enumerate(role.secrets):
        fits = _ENVIRONMENT.fullmatch(secret.target) or _is_clean(secret.target, absolute=True)
        if not (secret.name and secret.key and fits):
            refuse(f"{at}.secrets[{index}]", secret, "name, key, and a variable or absolute path")


def _check_command(command: tuple[str, ...], at: str) -> None:
    if not command or not command[0]:
        refuse(f"{at}.command", list(command), "a program and its arguments")
    if "\0" in "".join(command) or max(map(len, command)) * 4 > MAX_ARGUMENT_BYTES:
        for index, argument in enumerate(command):
            _check_argument(f"{at}.command[{index}]", argument)
    if sum(map(len, command)) > MAX_ARGUMENTS_BYTES:
        refuse(f"{at}.command", "longer", f"at most {MAX_ARGUMENTS_BYTES} bytes in all")


def _check_argument(field: str, value: str) -> None:
    if "\0" in value:
        refuse(field, value, "text without NUL characters")
    if len(value) * 4 > MAX_ARGUMENT_BYTES and len(value.encode()) > MAX_ARGUMENT_BYTES:
        refuse(field, value, f"at most {MAX_ARGUMENT_BYTES} bytes")


def _check_environment(env: Mapping[str, str], at: str) -> None:
    for name, value in env.items():
        if not _ENVIRONMENT.fullmatch(name):
            refuse(at, name, "letters, digits and _ as a name, no digit first")
        if name in RESERVED_ENVIRONMENT:
            refuse(at, name, "names that Gridloom does not set itself")
        _check_argument(f"{at}.{name}", value)


def _check_files(files: tuple[InputFile, ...], at: str) -> None:
    for index, file in enumerate(files):
        _check_path(f"{at}[{index}].path", file.path)
        _check_digest(f"{at}[{index}].object", file.digest)
        check_between(f"{at}[{index}].mode", file.mode, 0, 0o777)
    paths = [PurePosixPath(file.path) for file in files]
    _check_unique(at, paths, "each path once")
    folders = {folder for path in paths for folder in path.parents}
    for path in paths:
        if path in folders:
            refuse(at, str(path), "a path that is no folder of another file")


def _check_digest(field: str, digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        refuse(field, digest, '"sha256:" and 64 hexadecimal digits')


def _check_path(field: str, path: str) -> None:
    if not _is_clean(path, absolute=False):
        refuse(field, path, 'a path below the working folder, without ".."')


def _is_clean(path: str, *, absolute: bool) -> bool:
    parts = PurePosixPath(path)
    return (
        parts.is_absolute() is absolute
        and "\0" not in path
        and ".." not in parts.parts
        and (absolute or bool(parts.parts))
    )


def check_resources(resources: Mapping[str, int], at: str, least_cpu: int = 1) -> None:
    """Check names and amounts of resources."""
    for name, amount in resources.items():
        if not _RESOURCE.fullmatch(name):
            refuse(at, name, "letters, digits and inner - _ . / as a name")
        least = least_cpu if name == "cpu" else 0
        check_between(f"{at}.{name}", amount, least, MAX_AMOUNT)


def check_between(field: str, value: int, least: int, most: int, unit: str = "") -> None:
    """Check that a value lies between two, both allowed."""
    if not least <= value <= most:
        refuse(field, f"{value} {unit}".strip(), f"from {least} to {most} {unit}".strip())


def _check_count(field: str, values: tuple[object, ...], least: int, most: int) -> None:
    if not least <= len(values) <= most:
        refuse(field, f"{len(values)} of them", f"from {least} to {most}")


def _check_unique(field: str, values: Iterable[object], allowed: str) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            refuse(field, f"{value} twice", allowed)
        seen.add(value)
