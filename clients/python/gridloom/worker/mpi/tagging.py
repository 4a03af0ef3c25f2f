"""Many streams in one: whole lines, each with the mark of the rank that wrote it."""

from __future__ import annotations

_LONGEST_LINE_BYTES = 64 * 1024
_KEPT_LINES = 20


def tagged(rank: int, line: bytes) -> bytes:
    """A line of a rank as it stands in the log: `[3] ...`."""
    return b"[%d] %s\n" % (rank, line)


class Tagger:
    """Takes pieces of streams, gives whole lines. A line never ends up between parts of another."""

    def __init__(self) -> None:
        self._rests: dict[int, bytes] = {}
        # What each rank wrote last.
        self.last: dict[int, list[bytes]] = {}

    def feed(self, rank: int, data: bytes) -> bytes:
        """The lines that this piece completes, tagged; a line that never ends comes in parts."""
        *lines, rest = (self._rests.pop(rank, b"") + data).split(b"\n")
        if len(rest) > _LONGEST_LINE_BYTES:
            lines.append(rest)
        elif rest:
            self._rests[rank] = rest
        return self._said(rank, lines)

    def finish(self) -> bytes:
        """Lines without an end."""
        rests, self._rests = self._rests, {}
        return b"".join(self._said(rank, [rest]) for rank, rest in sorted(rests.items()))

    def _said(self, rank: int, lines: list[bytes]) -> bytes:
        if lines:
            kept = self.last.get(rank, []) + lines[-_KEPT_LINES:]
            self.last[rank] = kept[-_KEPT_LINES:]
        return b"".join(tagged(rank, line) for line in lines)
