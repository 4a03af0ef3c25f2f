"""What `gridloom scaling-study` does: from its options to the study, its table and its files."""

from __future__ import annotations

import sys
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom.cli.running import job_words
from gridloom.cli.screen import Column, print_table
from gridloom.errors import InvalidRequestError, NotFoundError
from gridloom.studies.words import columns, findings, heading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom.cli.verb import Here
    from gridloom.studies.study import ScalingStudy

_OWN = ("widths", "mode", "repeats", "name", "out", "bound", "spec", "command")
# Of the words of a run only the others are wanted.
_NO_COMMAND = ["-"]


def show_study(here: Here, words: Mapping[str, Any]) -> None:
    """Run it and show what came of it."""
    spec = _spec(words["command"], words["spec"])
    of_runs = {word: value for word, value in words.items() if word not in _OWN}
    _, given = job_words({"command": _NO_COMMAND, **of_runs})
    options: dict[str, Any] = {word: value for word, value in given.items() if value}
    study = here.client.scaling_study(
        spec,
        _widths(words["widths"]),
        words["mode"],
        words["repeats"],
        bound=words["bound"],
        **({"name": words["name"]} if words["name"] else {}),
        **options,
    )
    _show(here, study, study.save(words["out"]))


def _show(here: Here, study: ScalingStudy, paths: list[Path]) -> None:
    screen = here.screen
    if screen.as_json:
        screen.document(study_document(study, paths))
    elif screen.quiet:
        screen.words([study.name])
    else:
        screen.words([heading(study), ""])
        print_table(
            [Column(title, text, right=True) for title, text in columns(study)], study.points
        )
        screen.words(["", *(f"{name}: {text}" for name, text in findings(study))])
        screen.words(str(path) for path in paths)


def study_document(study: ScalingStudy, paths: list[Path]) -> dict[str, Any]:
    """The study as programs read it."""
    return {**study.to_dict(), "files": [str(path.absolute()) for path in paths]}


def _widths(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        allowed = "whole numbers with commas between them: 1,2,4"
        raise InvalidRequestError(
            f'--widths cannot be "{text}"; give {allowed}',
            field="widths",
            given=text,
            allowed=allowed,
        ) from None


def _spec(command: list[str] | None, place: str) -> Any:
    """The command, or what a name in a Python file stands for."""
    if bool(command) == bool(place):
        raise InvalidRequestError(
            "give either a command (-- ./solver) or --spec FILE.py:NAME", field="spec"
        )
    if command:
        return command
    file, _, name = place.rpartition(":")
    if not file or not name:
        raise InvalidRequestError(f'--spec "{place}" is not FILE.py:NAME', field="spec")
    module = _loaded(Path(file))
    if not hasattr(module, name):
        raise NotFoundError(f'{file} has nothing called "{name}"', field="spec")
    return getattr(module, name)


def _loaded(path: Path) -> Any:
    """The file as a module that others can import: so its functions travel to where they run."""
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", field="spec")
    sys.path.insert(0, str(path.parent.absolute()))
    loader = util.spec_from_file_location(path.stem, path)
    if loader is None or loader.loader is None:
        raise InvalidRequestError(f"{path} is no Python file", field="spec")
    module = util.module_from_spec(loader)
    sys.modules[path.stem] = module
    loader.loader.exec_module(module)
    return module
