"""The runs of a study, kept as they come, so that one that was interrupted goes on.

A ledger is a folder with `runs.jsonl`: the study in the first line, a run in each other one. A run
is on disk when `add` returns; a line that was cut off counts as not written.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from gridloom.errors import ConflictError
from gridloom.studies.study import Run
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FILE = "runs.jsonl"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a study is of: runs of another subject are not its own.

    `texts` say what is run at each width; `options` is a digest of how.
    """

    platform: str
    mode: str
    texts: Mapping[int, str]
    options: str


class Ledger:
    """One study's, opened by one process at a time.

    Raises:
        ConflictError: the study is at work elsewhere, or is of something else.
    """

    def __init__(self, folder: Path, name: str, subject: Subject) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._name = name
        self._subject = subject
        self._path = folder / _FILE
        self._file = self._path.open("a+b")
        self.runs: dict[tuple[int, int], Run] = {}
        """By width and repeat."""
        try:
            self._lock()
            self.key = self._begun()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, run: Run) -> None:
        """Keep a run."""
        self._write({"run": asdict(run), "what": self._subject.texts[run.width]})
        self.runs[run.width, run.repeat] = run

    # ---- the file

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f'the scaling study "{self._name}" is at work in another process: see {self._path}'
            ) from None

    def _begun(self) -> str:
        """Read what is there, or begin; the key of the study."""
        try:
            head, *lines = self._lines()
            runs = [(Run(**line["run"]), str(line["what"])) for line in lines]
        except (ValueError, KeyError, TypeError) as error:
            raise ConflictError(f"{self._path} is no ledger of a scaling study: {error}") from error
        self._expect("platform", head["platform"], self._subject.platform)
        self._expect("mode", head["mode"], self._subject.mode)
        self._expect("options", head["options"], self._subject.options)
        for run, what in runs:
            if run.width in self._subject.texts:
                self._expect(f"width {run.width}", what, self._subject.texts[run.width])
            self.runs[run.width, run.repeat] = run
        return str(head["study"])

    def _lines(self) -> list[dict[str, Any]]:
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        if whole:
            return [json.loads(line) for line in whole.splitlines()]
        subject = self._subject
        head = {
            "study": uuid.uuid4().hex[:12],
            "platform": subject.platform,
            "mode": subject.mode,
            "options": subject.options,
        }
        self._write(head)
        return [head]

    def _expect(self, field: str, kept: str, given: str) -> None:
        if kept != given:
            raise ConflictError(
                f'the scaling study "{self._name}" has runs of something else ({field}: {kept};'
                f" now {given}): give this one another name, or remove {self._path.parent}",
                field=field,
            )

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
