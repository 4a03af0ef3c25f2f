"""Which platform is meant when nobody says: the contexts file, as kubectl has one.

$GRIDLOOM_CONFIG, else ~/.config/gridloom/config.toml, holds named platforms and which of them is
current:

    current = "lab"

    [contexts.lab]
    address = "hpc.example.org"
    project = "chem"

A context without an address is an embedded platform (`home` says which). "embedded" is always there
and is current unless another is.
"""

from __future__ import annotations

import os
from dataclasses import field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom.errors import InvalidRequestError, NotFoundError
from gridloom.options import check_options, nearest
from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Context:
    """One platform and the defaults of whoever uses it. Empty: not said."""

    name: str = EMBEDDED
    address: str = ""
    home: str = ""
    api_key: str = field(default="", repr=False)
    project: str = ""
    queue: str = ""
    ca_file: str = ""

    @property
    def is_embedded(self) -> bool:
        """It is a platform of this machine's own, in a home folder."""
        return not self.address


@dataclass(frozen=True, slots=True)
class Contexts:
    """What the contexts file says. A change is a copy; `write` keeps it."""

    file: Path
    current: str = EMBEDDED
    by_name: Mapping[str, Context] = field(default_factory=dict)

    def get(self, name: str) -> Context:
        """The context of this name; a `NotFoundError` names those that exist."""
        if name in self.by_name:
            return self.by_name[name]
        if name == EMBEDDED:
            return Context()
        known = sorted({EMBEDDED, *self.by_name})
        near = nearest(name, known)
        advice = f'did you mean "{near}"?' if near else f"{self.file} has: {', '.join(known)}"
        raise NotFoundError(f'context "{name}" does not exist; {advice}')

    def at(self, address: str) -> Context | None:
        """The context of this address, if there is one: it holds the key."""
        return next((c for c in self.by_name.values() if c.address == address), None)

    def everything(self) -> list[Context]:
        """All contexts by name, the embedded one among them."""
        return [self.get(name) for name in sorted({EMBEDDED, *self.by_name})]

    def using(self, name: str) -> Contexts:
        """With another current context, which must exist."""
        return replace(self, current=self.get(name).name)

    def having(self, context: Context) -> Contexts:
        """With this context added or changed."""
        return replace(self, by_name={**self.by_name, context.name: context})

    def without(self, name: str) -> Contexts:
        """Without this context; the embedded one is current if it was."""
        self.get(name)
        left = {key: value for key, value in self.by_name.items() if key != name}
        return replace(
            self, by_name=left, current=EMBEDDED if self.current == name else self.current
        )

    def write(self) -> None:
        """Keep it, readable for the user only: keys are in it. All or nothing."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_name(f"{self.file.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(_toml(self))
        draft.replace(self.file)


def contexts_file(environment: Mapping[str, str] = os.environ) -> Path:
    """$GRIDLOOM_CONFIG, else config.toml in the user's configuration folder."""
    if given := environment.get("GRIDLOOM_CONFIG"):
        return Path(given).expanduser()
    base = environment.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "gridloom" / "config.toml"


def read_contexts(file: Path) -> Contexts:
    """What the file says; a missing one says nothing. A word that nobody knows is refused.

    So is a file with API keys that others than its owner may read.
    """
    try:
        text = file.read_text("utf-8")
        is_open = os.name == "posix" and bool(file.stat().st_mode & 0o077)
    except FileNotFoundError:
        return Contexts(file)
    import tomllib

    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequestError(f"{file} cannot be read: {error}", field="contexts") from None
    check_options(said, ("current", "contexts"))
    by_name = {name: _context(name, values) for name, values in said.get("contexts", {}).items()}
    if is_open and any(context.api_key for context in by_name.values()):
        raise InvalidRequestError(
            f"{file} holds API keys and others may read it: chmod 600 {file}", field="contexts"
        )
    return Contexts(file, said.get("current", EMBEDDED), by_name)


def _context(name: str, values: dict[str, Any]) -> Context:
    check_options(values, [f.name for f in fields(Context) if f.name != "name"])
    return Context(name=name, **values)


def _toml(contexts: Contexts) -> str:
    lines = [f"current = {_quoted(contexts.current)}"]
    for name, context in sorted(contexts.by_name.items()):
        lines += ["", f"[contexts.{_quoted(name)}]"]
        for item in fields(context):
            value = getattr(context, item.name)
            if value and item.name != "name":
                lines.append(f"{item.name} = {_quoted(value)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    import json

    # A JSON string is a TOML basic string.
    return json.dumps(text, ensure_ascii=False)
