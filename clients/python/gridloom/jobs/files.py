"""The files that go with a job: which ones, and what they are called there.

A pure plan first (`planned_files`), sent afterwards. A path below the current folder keeps its
name; any other comes to lie in the working folder under its last part. Folders travel whole. A
mapping says the names itself: `{"input.dat": "/data/run7.dat", "config.json": b"{}"}`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gridloom.errors import InvalidRequestError, NotFoundError
from gridloom.values import dataclass

if TYPE_CHECKING:
    from gridloom.jobs.role import Files

SHELL = ("/bin/sh", "-c")
_BYTES_MODE = 0o644
_OPTIONS_WITH_A_PROGRAM = frozenset({"-c", "-m", "-e"})
_INTERPRETERS = ("python", "pypy", "bash", "sh", "zsh", "perl", "ruby", "node", "Rscript", "julia")


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file: its name below the working folder, what is in it, its permissions."""

    path: str
    source: Path | bytes
    mode: int
    # It has no name there: the command reads it from its standard input.
    is_stdin: bool = False


def planned_files(given: Files, folder: Path) -> list[PlannedFile]:
    """Every single file that `files=` means, paths taken from `folder`. Refuses what is missing."""
    if isinstance(given, str | bytes | Path):
        given = [str(given)]
    if isinstance(given, Mapping):
        pairs = [(_checked(name), source) for name, source in given.items()]
    elif isinstance(given, Sequence):
        pairs = [(_name_there(Path(source), folder), source) for source in given]
    else:
        raise _refusal(f"files cannot be {given!r}", repr(given))
    return [file for name, source in pairs for file in _walked(name, source, folder)]


def planned_stdin(given: str | Path | bytes | None, folder: Path) -> list[PlannedFile]:
    """What the command is to read: the bytes, or what is in the file; nothing for None."""
    if given is None:
        return []
    if isinstance(given, bytes):
        return [PlannedFile("", given, _BYTES_MODE, is_stdin=True)]
    if not isinstance(given, str | Path):
        raise InvalidRequestError(
            f"stdin cannot be {given!r}", field="stdin", given=repr(given), allowed="path or bytes"
        )
    path = folder / Path(given).expanduser()
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", field="stdin", given=str(given))
    return [PlannedFile("", path, _BYTES_MODE, is_stdin=True)]


def program_file(command: Sequence[str], folder: Path) -> Path | None:
    """The user's own program in the command, which travels without being named among the files.

    That is an executable given by a relative path ("./solver") or the script of an interpreter
    ("python plot.py"), where it is a file below `folder`.
    """
    words = _plain_words(command)
    word = program_word(command)
    if words and word == words[0] and "/" not in word:  # it is looked up on the PATH there
        return None
    program = Path(word)
    if program.is_absolute() or ".." in program.parts:
        return None
    return program if (folder / program).is_file() else None


def program_word(command: Sequence[str]) -> str:
    """What a person would say runs: the interpreter's script, else the program."""
    words = _plain_words(command)
    if not words:
        return ""
    if words[0].rpartition("/")[2].startswith(_INTERPRETERS):
        return _script(words[1:]) or words[0]
    return words[0]


def _plain_words(command: Sequence[str]) -> list[str]:
    """The words of a command, those of its first line where it is a shell's."""
    if list(command[:2]) != [*SHELL]:
        return list(command)
    try:
        return shlex.split(command[2])
    except ValueError:
        return []


def _script(words: Sequence[str]) -> str | None:
    """The first word that is not an option; None where the program stands on the line itself."""
    for word in words:
        if word in _OPTIONS_WITH_A_PROGRAM:
            return None
        if not word.startswith("-"):
            return word
    return None


def _name_there(source: Path, folder: Path) -> str:
    path = source if source.is_absolute() else folder / source
    normal = Path(os.path.normpath(path))
    return str(normal.relative_to(folder)) if normal.is_relative_to(folder) else normal.name


def _checked(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise _refusal(
            f'a file cannot be called "{name}" there: names are below the working folder', name
        )
    return str(path)


def _walked(name: str, source: str | Path | bytes, folder: Path) -> Iterator[PlannedFile]:
    if isinstance(source, bytes):
        yield PlannedFile(name, source, _BYTES_MODE)
        return
    path = folder / Path(source).expanduser()
    if path.is_dir():
        yield from _below(name, path, frozenset())
    elif path.is_file():
        yield PlannedFile(name, path, path.stat().st_mode & 0o777)
    else:
        raise NotFoundError(f"there is no file {path}", field="files", given=str(source))


def _below(name: str, folder: Path, above: frozenset[Path]) -> Iterator[PlannedFile]:
    """Everything in a folder, in the order of names; a link that leads back up is refused."""
    real = folder.resolve()
    if real in above:
        raise _refusal(f"{folder} leads back into itself", str(folder))
    for entry in sorted(folder.iterdir()):
        inner = entry.name if name == "." else f"{name}/{entry.name}"
        if entry.is_dir():
            yield from _below(inner, entry, above | {real})
        elif entry.is_file():
            yield PlannedFile(inner, entry, entry.stat().st_mode & 0o777)


def _refusal(message: str, given: str) -> InvalidRequestError:
    return InvalidRequestError(
        message,
        field="files",
        given=given,
        allowed="a list of paths, or {name in the job: path or bytes}",
    )
