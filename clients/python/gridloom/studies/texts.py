"""What is run, as a text that is the same in every process: by it an interrupted study is known."""

from __future__ import annotations

import hashlib
import re

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_LONGEST = 300


def same_everywhere(text: str) -> str:
    """A `repr` without what is of one process only, in one line; of a long one a digest."""
    plain = " ".join(_ADDRESS.sub("", text).split())
    if len(plain) <= _LONGEST:
        return plain
    return f"{plain[:_LONGEST]}... ({hashlib.sha256(plain.encode()).hexdigest()[:12]})"


def shortened(text: str, longest: int) -> str:
    """Its beginning."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def of_width(width: int, unit: str) -> str:
    """As people count: 1 rank, 2 ranks."""
    return f"{width} {unit.removesuffix('s') if width == 1 else unit}"
