"""Flame graphs as SVG, after Brendan Gregg ("The Flame Graph", ACM Queue 14(2), 2016).

A box is a function on the stack, as wide as the time that was spent in it; what it called stands on
it. From left to right there is no order of time: neighbours are sorted by name.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from gridloom import units
from gridloom.worker.profiling.words import CPROFILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gridloom.profiles.frames import Frame
    from gridloom.profiles.profile import Profile

_WIDTH = 1200
_MARGIN = 10
_HEAD = 58
_ROW = 18
_LETTER = 6.6
_LEAST_PX = 0.3
_LEAST_ROOM = 3
_ALL = "all"
_STYLE = """text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:#1b1b1b;pointer-events:none}
.h{font:600 16px system-ui,sans-serif}.s{font:12px system-ui,sans-serif;fill:#555}
g:hover>rect{stroke:#000;stroke-width:1}rect{rx:2px}"""


class _Node:
    """A function at one place of the tree, with all the time above it."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.seconds = 0.0
        self.above: dict[str, _Node] = {}

    @property
    def height(self) -> int:
        deepest, level = 0, [self]
        while level:
            deepest += 1
            level = [node for each in level for node in each.above.values()]
        return deepest


def flamegraph(profile: Profile, title: str = "") -> str:
    """The picture."""
    root = _tree(profile.stacks)
    height = _HEAD + root.height * _ROW + _MARGIN
    boxes = "\n".join(_boxes(root, height))
    said = [
        f"{profile.kind}, {units.format_duration(profile.seconds)}",
        f"peak memory {units.format_bytes(profile.peak_memory_bytes)}",
    ]
    if profile.by_rank:
        said.insert(1, f"{len(profile.by_rank)} ranks together")
    if profile.kind == CPROFILE:
        said.append("below shared functions as the counts suggest")
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" \
viewBox="0 0 {_WIDTH} {height}">
<style>{_STYLE}</style>
<rect width="100%" height="100%" fill="#fffdf8"/>
<text class="h" x="{_MARGIN}" y="25">{escape(title or "Flame graph")}</text>
<text class="s" x="{_MARGIN}" y="44">{escape("; ".join(said))}</text>
{boxes}
</svg>
"""


def _tree(stacks: Mapping[tuple[Frame, ...], float]) -> _Node:
    root = _Node(_ALL)
    for stack, seconds in stacks.items():
        node = root
        node.seconds += seconds
        for frame in stack:
            node = node.above.setdefault(frame.label, _Node(frame.label))
            node.seconds += seconds
    return root


def _boxes(root: _Node, height: int) -> Iterator[str]:
    whole_s = root.seconds or 1.0
    scale = (_WIDTH - 2 * _MARGIN) / whole_s
    waiting: list[tuple[_Node, float, int]] = [(root, _MARGIN, 0)]
    while waiting:
        node, left, level = waiting.pop()
        width = node.seconds * scale
        if width < _LEAST_PX:
            continue
        yield _box(node, left, height - _MARGIN - (level + 1) * _ROW, width, whole_s)
        for label in sorted(node.above):
            waiting.append((node.above[label], left, level + 1))
            left += node.above[label].seconds * scale


def _box(node: _Node, left: float, top: int, width: float, whole_s: float) -> str:
    told = f"{node.label}: {node.seconds:.3g} s, {node.seconds / whole_s:.1%}"
    room = int((width - 6) / _LETTER)
    shown = node.label if len(node.label) <= room else f"{node.label[: max(room - 1, 0)]}…"
    text = (
        f'<text x="{left + 3:.1f}" y="{top + 12}">{escape(shown)}</text>'
        if room >= _LEAST_ROOM
        else ""
    )
    return (
        f'<g><title>{escape(told)}</title><rect x="{left:.1f}" y="{top}" width="{width:.2f}"'
        f' height="{_ROW - 1}" fill="{_colour(node.label)}"/>{text}</g>'
    )


def _colour(label: str) -> str:
    """Warm, and the same for the same function in each picture."""
    if label == _ALL:
        return "#e4ddd0"
    hash_ = zlib.crc32(label.encode())
    return f"hsl({18 + hash_ % 34},{72 + (hash_ >> 8) % 22}%,{62 + (hash_ >> 16) % 12}%)"
