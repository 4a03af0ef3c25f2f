"""What goes to the terminal: tables for people, JSON for programs, ids for scripts.

Results go to standard output, everything else to standard error. Colours only where a terminal is,
and never with NO_COLOR. In a pipe nothing is cut off or wrapped.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console

T = TypeVar("T")

_PIPE_WIDTH = 10_000


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column: its title and what it says of an item, as text or with a style beside it.

    A `flexible` column gives way where a terminal is narrow.
    """

    title: str
    value: Callable[[T], str | tuple[str, str]]
    flexible: bool = False
    right: bool = False


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
    console().print(table_of(columns, items))


def table_of(columns: Sequence[Column[T]], items: Iterable[T]) -> Any:
    """The same as something that rich can print."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if column.right else "left",
            min_width=None if column.flexible else _width(column, items := list(items)),
        )
    for item in items:
        table.add_row(*(styled(column.value(item)) for column in columns))
    return table


def _width(column: Column[T], items: Sequence[T]) -> int:
    values = (column.value(item) for item in items)
    texts = (value if isinstance(value, str) else value[0] for value in values)
    return max((len(text) for text in (column.title, *texts)), default=1)


def styled(value: str | tuple[str, str]) -> Any:
    """Text with its style, never read as markup."""
    from rich.text import Text

    return Text(value) if isinstance(value, str) else Text(value[0], style=value[1])


def console(*, stderr: bool = False) -> Console:
    """The terminal, or an endlessly wide pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False)


def complain(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)
