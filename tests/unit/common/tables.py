"""A small store to test with: notes, and the migrations that lead to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gridloom_services.common.schema import Schema
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text, insert, select

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom_services.common.cursor import Cursor
    from sqlalchemy import Connection

metadata = MetaData()

notes = Table(
    "notes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),
    # Checked at the commit: the way to make one fail.
    Column(
        "answers",
        Integer,
        ForeignKey(
            "notes.number", name="notes_answers_fkey", deferrable=True, initially="DEFERRED"
        ),
    ),
)

SCHEMA = Schema("notes", metadata, Path(__file__).parent / "migrations")


def add(number: int, content: str = "x", answers: int | None = None) -> Callable[[Connection], int]:
    """Work that adds a note and returns its number."""

    def work(connection: Connection) -> int:
        row = {"number": number, "content": content, "answers": answers}
        connection.execute(insert(notes), [row])
        return number

    return work


def numbers(connection: Connection) -> list[int]:
    """Which notes there are."""
    return list(connection.execute(select(notes.c.number).order_by(notes.c.number)).scalars())


def put(number: int, content: str = "x", answers: int | None = None) -> Callable[[Cursor], int]:
    """`add` by the driver."""

    def work(cursor: Cursor) -> int:
        cursor.run("INSERT INTO notes VALUES (?, ?, ?)", number, content, answers)
        return number

    return work


def noted(cursor: Cursor) -> list[int]:
    """`numbers` by the driver."""
    return [row[0] for row in cursor.all("SELECT number FROM notes ORDER BY number")]
