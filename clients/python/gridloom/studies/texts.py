"""What is run, as a text that is the same in every process: by it an interrupted study is known."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_LONGEST = 300
_LONGEST_ARGUMENT = 40


def same_everywhere(text: str) -> str:
    """A `repr` without what is of one process only, in one line; of a long one a digest."""
    plain = " ".join(_ADDRESS.sub("", text).split())
    if len(plain) <= _LONGEST:
        return plain
    return f"{plain[:_LONGEST]}... ({digest_of(plain)})"


def digest_of(text: str) -> str:
    """Of a `repr` that may hold what is nobody's business, such as values of an environment."""
    plain = _ADDRESS.sub("", text)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


def call_text(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """A call for people: of a large argument what it is, and how large."""
    said = [_argument(one) for one in args]
    said += [f"{word}={_argument(value)}" for word, value in kwargs.items()]
    return f"{name}({', '.join(said)})"


def _argument(value: Any) -> str:
    text = repr(value)
    if len(text) <= _LONGEST_ARGUMENT and "\n" not in text:
        return same_everywhere(text)
    kind = type(value).__name__
    if hasattr(value, "shape"):
        return f"{kind} {'x'.join(map(str, value.shape))}"
    return f"{kind} of {len(value)}" if hasattr(value, "__len__") else kind


def shortened(text: str, longest: int) -> str:
    """Its beginning."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def of_width(width: int, unit: str) -> str:
    """As people count: 1 rank, 2 ranks."""
    return f"{width} {unit.removesuffix('s') if width == 1 else unit}"
