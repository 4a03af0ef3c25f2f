"""Projects and queues that an operator has declared: brought about at each start, again and again.

    {"chem": {"quota": {"cpu": 512, "memory": "2Ti", "nvidia.com/gpu": 16},
              "queues": {"gpu": {"quota": {"nvidia.com/gpu": 16}, "priority": 10,
                                 "defaultTimeLimit": "1h", "maxTimeLimit": "2d", "closed": false,
                                 "description": "A100 only"}}}}

What is declared is as it says; what is not declared of a queue stays as it is, and so do projects
and queues that are not named.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom import units
from gridloom.errors import InvalidRequestError as UnitError

from gridloom_services.common.errors import InvalidRequestError, SettingsError
from gridloom_services.scheduler.queue import DEFAULT_QUEUE, Queue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.projects import Projects
    from gridloom_services.scheduler.queues import Queues

SETTING = "GRIDLOOM_SCHEDULER_PROJECTS"


@dataclass(frozen=True, slots=True)
class DeclaredProject:
    """What is said of a project, and of each of its queues, by the names of `Queue`'s fields."""

    name: str
    changes: Mapping[str, Any]
    queues: Mapping[str, Mapping[str, Any]]


def declared_projects(given: str) -> tuple[DeclaredProject, ...]:
    """Read the setting: JSON, or the path of a file with it. SettingsError says where it is wrong.

    Nothing given, nothing declared.
    """
    text = given.strip()
    try:
        if text and not text.startswith("{"):
            text = Path(text).read_text("utf-8")
        said = json.loads(text or "{}")
    except OSError as error:
        raise _refusal("", f"cannot be read: {error}") from error
    except ValueError as error:
        raise _refusal("", f"is no JSON: {error}") from error
    return tuple(_project(name, each or {}) for name, each in _object(said, "").items())


def bring_about(declared: tuple[DeclaredProject, ...], projects: Projects, queues: Queues) -> None:
    """Make what is missing and change what is otherwise.

    SettingsError names the first that cannot be.
    """
    for project in declared:
        try:
            _bring_about(project, projects, queues)
        except InvalidRequestError as error:
            raise _refusal(project.name, error.message) from error


def _bring_about(declared: DeclaredProject, projects: Projects, queues: Queues) -> None:
    there = {view.queue.name for view in queues.views(declared.name)}
    if not there and not declared.queues:
        queues.create(Queue(declared.name, DEFAULT_QUEUE))
    for name, changes in declared.queues.items():
        if name not in there:
            queues.create(Queue(declared.name, name, **_with_default(changes)))
        else:
            queues.update(declared.name, name, changes)
    projects.update(declared.name, declared.changes)


def _with_default(changes: Mapping[str, Any]) -> dict[str, Any]:
    """A new queue's default is no longer than the longest that it allows."""
    most = changes.get("max_time_limit_s")
    if not most or "default_time_limit_s" in changes:
        return dict(changes)
    return {"default_time_limit_s": min(most, Queue("", "").default_time_limit_s), **changes}


# ---- reading


def _project(name: str, said: Any) -> DeclaredProject:
    words = _object(said, name)
    _check_words(words, {"quota", "description", "queues"}, name)
    changes = {word: _value(word, words[word], name) for word in words if word != "queues"}
    queues = _object(words.get("queues") or {}, f"{name}.queues")
    return DeclaredProject(
        name,
        {"quota": {}, **changes},
        {queue: _queue(f"{name}.queues.{queue}", each or {}) for queue, each in queues.items()},
    )


def _queue(where: str, said: Any) -> dict[str, Any]:
    words = _object(said, where)
    _check_words(words, _FIELDS.keys(), where)
    return {_FIELDS[word]: _value(word, value, where) for word, value in words.items()}


_FIELDS = {
    "quota": "quota",
    "priority": "priority",
    "closed": "closed",
    "description": "description",
    "defaultTimeLimit": "default_time_limit_s",
    "maxTimeLimit": "max_time_limit_s",
}
_KINDS: dict[str, type] = {"priority": int, "closed": bool, "description": str}


def _value(word: str, given: Any, where: str) -> Any:
    place = f"{where}.{word}"
    if word == "quota":
        amounts = _object(given, place)
        return {name: _amount(name, each, f"{place}.{name}") for name, each in amounts.items()}
    if word in _KINDS:
        if type(given) is not _KINDS[word]:
            raise _refusal(place, f"is {given!r}; {_KINDS[word].__name__} is expected")
        return given
    try:
        return round(units.seconds(given, field=place))
    except UnitError as error:
        raise _refusal(place, str(error)) from error


def _amount(name: str, given: Any, place: str) -> int:
    """In the scheduler's units: processors in thousandths, memory in bytes."""
    try:
        if name == "memory":
            return units.memory_bytes(given, field=place) if given not in {0, "0"} else 0
        if name == "cpu" and isinstance(given, str) and given.endswith("m"):
            return int(given[:-1])
        number = float(given) * (units.CPU if name == "cpu" else 1)
    except (UnitError, ValueError, TypeError) as error:
        raise _refusal(place, str(error)) from error
    if number < 0 or number != int(number):
        raise _refusal(place, f"is {given!r}; a whole amount of 0 or more is expected")
    return int(number)


def _object(given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _refusal(where, f"is {given!r}; an object is expected")
    return given


def _check_words(words: Mapping[str, Any], known: Any, where: str) -> None:
    for word in words:
        if word not in known:
            raise _refusal(f"{where}.{word}", f"is unknown; known are {', '.join(sorted(known))}")


def _refusal(where: str, sentence: str) -> SettingsError:
    place = f"{SETTING}: {where}" if where else SETTING
    return SettingsError(f"{place} {sentence}", field=SETTING)
