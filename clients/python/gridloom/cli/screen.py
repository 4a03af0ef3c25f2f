"""What goes to the terminal: tables for people, JSON for programs, ids for scripts.

Results go to standard output, everything else to standard error. Colours only where a terminal is,
and never with NO_COLOR. In a pipe nothing is cut off or wrapped.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gridloom.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console

T = TypeVar("T")

_PIPE_WIDTH = 10_000
_GAP = 2
_LEAST_WIDTH = 6


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column: its title and what it says of an item, as text or with a style beside it.

    A `flexible` column gives way where a terminal is narrow; where that is not enough, the columns
    with the highest `spare` are left out. One with 0 always stays.
    """

    title: str
    value: Callable[[T], str | tuple[str, str]]
    flexible: bool = False
    right: bool = False
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Noun(Generic[T]):
    """One kind of thing and how it is shown: to people, to programs, to scripts."""

    name: str
    columns: tuple[Column[T], ...]
    document: Callable[[T], dict[str, Any]]
    identifier: Callable[[T], str]
    sheet: Callable[[T], Iterable[tuple[str, str | tuple[str, str]]]] | None = None


class Screen:
    """Where a verb says what it has to say."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet

    # ---- results

    def many(self, noun: Noun[T], items: Iterable[T]) -> None:
        """A list of things."""
        if self.as_json:
            self._json([noun.document(item) for item in items])
        elif self.quiet:
            self.words(noun.identifier(item) for item in items)
        else:
            self._table(noun, list(items))

    def one(self, noun: Noun[T], item: T) -> None:
        """One thing, with all there is to say."""
        if self.as_json:
            self._json(noun.document(item))
        elif self.quiet:
            self.words([noun.identifier(item)])
        elif noun.sheet is not None:
            self._sheet(noun.sheet(item))
        else:
            self._table(noun, [item])

    def line(self, noun: Noun[T], item: T, text: str) -> None:
        """One of many that come one by one: a line of text, or of JSON."""
        if self.as_json:
            print(json.dumps(noun.document(item), ensure_ascii=False), flush=True)
        elif self.quiet:
            self.words([noun.identifier(item)])
        else:
            console().print(text, soft_wrap=True, highlight=False, markup=True)

    def done(self, noun: Noun[T], items: Sequence[T], sentence: Callable[[T], str]) -> None:
        """What a change has done: a sentence for each thing."""
        if self.as_json:
            self._json([noun.document(item) for item in items])
        elif self.quiet:
            self.words(noun.identifier(item) for item in items)
        else:
            self.words(sentence(item) for item in items)

    def settled(self, document: dict[str, Any], text: str) -> None:
        """What was done, where there is nothing left to show: a remark for people."""
        if self.as_json:
            self._json(document)
        else:
            self.say(text)

    def words(self, lines: Iterable[str]) -> None:
        """Plain lines on standard output."""
        for line in lines:
            print(line)

    def document(self, value: Any) -> None:
        """A JSON document, whatever the mode."""
        self._json(value)

    # ---- remarks

    def say(self, text: str) -> None:
        """A remark for people, beside the results; not in quiet mode."""
        if not self.quiet:
            complain(text)

    @contextmanager
    def busy(self, text: str) -> Iterator[Callable[[str], None]]:
        """A spinner with a text that may be changed; only on a terminal."""
        if self.quiet or self.as_json or not sys.stderr.isatty():
            yield lambda _: None
            return
        with console(stderr=True).status(text) as status:
            yield status.update

    # ---- how

    def _json(self, value: Any) -> None:
        print(json.dumps(value, indent=2, ensure_ascii=False))

    def _table(self, noun: Noun[T], items: Sequence[T]) -> None:
        if not items:
            self.say(f"no {noun.name}s")
            return
        print_table(noun.columns, items)

    def _sheet(self, rows: Iterable[tuple[str, str | tuple[str, str]]]) -> None:
        from rich.table import Table

        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(name, styled(value))
        console().print(table)


def print_table(columns: Sequence[Column[T]], items: Iterable[T]) -> None:
    """A table without lines; on a narrow terminal the flexible columns give way."""
    screen = console()
    screen.print(table_of(columns, items, screen.width))


def table_of(columns: Sequence[Column[T]], items: Iterable[T], width: int) -> Any:
    """The same as something that rich can print, `width` characters wide at most."""
    from rich.table import Table

    rows = [[column.value(item) for column in columns] for item in items]
    natural = [_natural_width(column, index, rows) for index, column in enumerate(columns)]
    kept = kept_columns(columns, natural, width)
    flexible = [place for place, index in enumerate(kept) if columns[index].flexible]
    room = width - _GAP * (len(kept) - 1)
    widths = fitted_widths([natural[index] for index in kept], flexible, room)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for index, wide in zip(kept, widths, strict=True):
        table.add_column(
            columns[index].title,
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if columns[index].right else "left",
            width=wide,
        )
    for row in rows:
        table.add_row(*(styled(row[index]) for index in kept))
    return table


def kept_columns(columns: Sequence[Column[T]], natural: Sequence[int], width: int) -> list[int]:
    """Which columns there is room for, when the flexible ones are as narrow as they may be."""
    least = [
        min(wide, _LEAST_WIDTH) if column.flexible else wide
        for column, wide in zip(columns, natural, strict=True)
    ]
    kept = list(range(len(columns)))
    while sum(least[index] + _GAP for index in kept) - _GAP > width:
        index = max(kept, key=lambda index: columns[index].spare)
        if not columns[index].spare:
            break
        kept.remove(index)
    return kept


def fitted_widths(natural: Sequence[int], flexible: Sequence[int], room: int) -> list[int]:
    """Widths of columns: natural ones where there is room; the flexible give way, longest first."""
    widths = list(natural)
    left = room - sum(wide for index, wide in enumerate(natural) if index not in flexible)
    waiting = sorted(flexible, key=lambda index: natural[index])
    while waiting:
        index = waiting.pop(0)
        fair = max(_LEAST_WIDTH, left // (len(waiting) + 1))
        widths[index] = min(natural[index], fair)
        left -= widths[index]
    return widths


def _natural_width(
    column: Column[T], index: int, rows: Sequence[Sequence[str | tuple[str, str]]]
) -> int:
    texts = (value if isinstance(value, str) else value[0] for value in (r[index] for r in rows))
    return max(len(text) for text in (column.title, *texts))


def styled(value: str | tuple[str, str]) -> Any:
    """Text with its style, never read as markup."""
    from rich.text import Text

    return Text(value) if isinstance(value, str) else Text(value[0], style=value[1])


def console(*, stderr: bool = False) -> Console:
    """The terminal, or an endlessly wide pipe."""
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            """A reader that is gone is no failure of the verb: see `cli.verb`."""
            raise BrokenPipeError

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Terminal(stderr=stderr, width=width, highlight=False, soft_wrap=False)


def complain(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)
