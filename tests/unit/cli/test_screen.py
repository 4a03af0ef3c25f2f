from __future__ import annotations

import pytest
from gridloom.cli.screen import Column, Noun, Screen, fitted_widths, kept_columns
from hypothesis import given
from hypothesis import strategies as st

WORD: Noun[str] = Noun(
    "word",
    columns=(Column("WORD", lambda word: word), Column("LENGTH", lambda word: str(len(word)))),
    document=lambda word: {"word": word},
    identifier=lambda word: word,
)


@pytest.mark.parametrize(
    ("natural", "flexible", "room", "widths"),
    [
        ([10, 20, 5], [1], 100, [10, 20, 5]),
        ([10, 50, 5], [1], 45, [10, 30, 5]),
        ([10, 8, 90], [1, 2], 60, [10, 8, 42]),
        ([10, 80, 90], [1, 2], 60, [10, 25, 25]),
        ([50, 80], [1], 40, [50, 6]),
    ],
)
def test_flexible_columns_give_way_longest_first(
    natural: list[int], flexible: list[int], room: int, widths: list[int]
):
    assert fitted_widths(natural, flexible, room) == widths


@given(st.lists(st.integers(1, 200), min_size=1, max_size=8), st.integers(20, 300), st.data())
def test_a_column_is_never_wider_than_it_needs_and_all_fit_where_they_can(
    natural: list[int], room: int, data: st.DataObject
):
    flexible = data.draw(st.sets(st.integers(0, len(natural) - 1)))
    widths = fitted_widths(natural, sorted(flexible), room)
    assert all(wide <= need for wide, need in zip(widths, natural, strict=True))
    fixed = sum(need for index, need in enumerate(natural) if index not in flexible)
    least = fixed + sum(min(6, natural[index]) for index in flexible)
    assert sum(widths) <= max(room, least)
    if sum(natural) <= room:
        assert widths == natural


def test_where_a_terminal_is_too_narrow_the_spare_columns_go_first():
    columns: list[Column[str]] = [
        Column("ID", str),
        Column("QUEUE", str, spare=1),
        Column("REASON", str, flexible=True, spare=2),
    ]
    natural = [30, 10, 50]
    assert kept_columns(columns, natural, 100) == [0, 1, 2]
    assert kept_columns(columns, natural, 50) == [0, 1, 2]
    assert kept_columns(columns, natural, 45) == [0, 1]
    assert kept_columns(columns, natural, 35) == [0]
    assert kept_columns(columns, natural, 5) == [0]


def test_markup_in_names_is_text(capfd: pytest.CaptureFixture[str]):
    Screen().many(WORD, ["[red]x[/]"])
    assert "[red]x[/]" in capfd.readouterr().out


def test_nothing_is_said_about_nothing_in_quiet_mode(capfd: pytest.CaptureFixture[str]):
    Screen(quiet=True).many(WORD, [])
    assert capfd.readouterr() == ("", "")
    Screen(as_json=True).many(WORD, [])
    assert capfd.readouterr().out == "[]\n"


def test_a_change_is_told_in_a_sentence_ids_or_json(capfd: pytest.CaptureFixture[str]):
    for screen in (Screen(), Screen(quiet=True), Screen(as_json=True)):
        screen.done(WORD, ["a"], lambda word: f"{word} is done")
    assert capfd.readouterr().out == 'a is done\na\n[\n  {\n    "word": "a"\n  }\n]\n'
