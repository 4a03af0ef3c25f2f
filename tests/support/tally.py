"""Print what several runs of pytest came to, from the files of `--junitxml`.

    python -m tests.support.tally build/tests

A run's file is `SUITE.xml`; `SUITE.again.xml` is the same suite's run of what had failed, and has
the last word. The line printed is "tests: 12 passed, 0 failed, 1 skipped"; the exit code is 1 when
something failed, or when nothing ran at all.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator

_AGAIN = ".again"
_OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}


def tally(folder: Path) -> Counter[str]:
    """How many tests passed, failed and were skipped, of all files in the folder."""
    ended: dict[tuple[str, str, str], str] = {}
    # First runs before repetitions: of a test that ran twice, the later outcome counts.
    for file in sorted(folder.glob("*.xml"), key=lambda file: (_AGAIN in file.name, file.name)):
        ended.update(_outcomes(file))
    return Counter(ended.values())


def _outcomes(file: Path) -> Iterator[tuple[tuple[str, str, str], str]]:
    suite = file.stem.removesuffix(_AGAIN)
    for case in ET.parse(file).iter("testcase"):
        found = [_OUTCOMES[child.tag] for child in case if child.tag in _OUTCOMES]
        name = (suite, case.get("classname", ""), case.get("name", ""))
        yield name, "failed" if "failed" in found else (found or ["passed"])[0]


def main(folder: str) -> int:
    """Print the line; 0 when tests ran and none failed."""
    counts = tally(Path(folder))
    passed, failed, skipped = (counts[outcome] for outcome in ("passed", "failed", "skipped"))
    print(f"tests: {passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
