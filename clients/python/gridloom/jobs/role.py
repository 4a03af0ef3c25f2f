"""One role of a gang: a command, how many replicas of it, and what each of them needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from gridloom.options import Spelled
from gridloom.values import dataclass

if TYPE_CHECKING:
    from gridloom import units

Command: TypeAlias = str | Sequence[str]
Files: TypeAlias = Sequence[str | Path] | Mapping[str, str | Path | bytes]


@dataclass(frozen=True, slots=True)
class Role(Spelled):
    """A role of `client.run(roles=[...])`. The words are those of `run` itself.

    All roles' replicas start together. Where `min_replicas` is smaller than `replicas`, that many
    do and the rest come and go singly.
    """

    name: str
    command: Command
    replicas: int = 1
    min_replicas: int | None = None
    shell: bool = False
    cpus: float | None = None
    memory: units.Memory | None = None
    gpus: int | None = None
    gpu_flavor: str | None = None
    resources: Mapping[str, int] = field(default_factory=dict)
    env: Mapping[str, object] = field(default_factory=dict)
    files: Files = ()
    stdin: str | Path | bytes | None = None
    outputs: str | Sequence[str] = ()
    image: str | None = None
    workdir: str | None = None
    volumes: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    colocate: bool = False
