"""The order of runs, what is kept of them, and what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import gridloom
import numpy as np
import pytest
from gridloom import aio
from gridloom.errors import ConflictError, InvalidRequestError, JobFailedError
from gridloom.studies.ledger import Ledger, Subject
from gridloom.studies.study import Run
from gridloom.studies.work import Turn, Work, work_of

if TYPE_CHECKING:
    from pathlib import Path

    from gridloom.client import Client


class Planned:
    """Work whose times are known before; it notes its turns, and may fail at one of them."""

    unit = "boats"
    title = "rowing"

    def __init__(self, text: str = "rowing", failure: BaseException | None = None) -> None:
        self.turns: list[tuple[int, int]] = []
        self.keys: set[str] = set()
        self._text = text
        self._failure = failure

    def text(self, width: int) -> str:
        del width
        return self._text

    def check(self, client: Client, width: int) -> None:
        if width > 64:
            raise InvalidRequestError("only 64 boats")

    def run(self, client: Client, turn: Turn) -> Run:
        if self._failure is not None and len(self.turns) == 3:
            raise self._failure
        self.turns.append((turn.width, turn.repeat))
        self.keys.add(turn.key)
        return Run(turn.width, turn.repeat, 1 / turn.width, 0, 0, 64, turn.width)


@gridloom.mpi(ranks=2)
def heat(comm, n): ...


@gridloom.function
def fit(c): ...


def test_widths_take_turns_up_and_down(client, tmp_path):
    work = Planned()
    assert isinstance(work, Work)
    found = client.scaling_study(work, [1, 2, 4], repeats=3, folder=tmp_path)
    assert [width for width, _ in work.turns] == [1, 2, 4, 4, 2, 1, 1, 2, 4]
    assert [point.runs for point in found.points] == [3, 3, 3]
    assert found.name.startswith("rowing-2")
    assert found.unit == "boats"


def test_a_study_begun_again_makes_only_the_runs_that_are_missing(client, tmp_path):
    broken = Planned(failure=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        client.scaling_study(broken, [1, 2], repeats=2, name="a", folder=tmp_path)
    assert broken.turns == [(1, 1), (2, 1), (2, 2)]
    work = Planned()
    found = client.scaling_study(work, [1, 2], repeats=2, name="a", folder=tmp_path)
    assert work.turns == [(1, 2)]
    assert work.keys == broken.keys
    assert len(found.runs) == 4
    more = Planned()
    wider = client.scaling_study(more, [1, 2, 4], repeats=1, name="a", folder=tmp_path)
    assert more.turns == [(4, 1)]
    assert len(wider.runs) == 3


def test_an_interrupt_says_how_to_go_on(client, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        client.scaling_study(
            Planned(failure=KeyboardInterrupt()), [1, 2], repeats=2, name="a", folder=tmp_path
        )
    said = capsys.readouterr().err
    assert "interrupted at width 1, run 2 of 2" in said
    assert 'under its name, "a"' in said


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [("sailing", "strong", {}), ("rowing", "weak", {}), ("rowing", "strong", {"queue": "big"})],
)
def test_runs_of_something_else_are_not_its_own(client, tmp_path, text, mode, words):
    client.scaling_study(Planned(), [1, 2], repeats=1, name="a", folder=tmp_path)
    with pytest.raises(ConflictError, match="runs of something else"):
        client.scaling_study(Planned(text), [1, 2], mode, 1, name="a", folder=tmp_path, **words)


def test_a_line_that_was_cut_off_is_a_run_that_was_not_made(client, tmp_path):
    client.scaling_study(Planned(), [1, 2], repeats=1, name="a", folder=tmp_path)
    file = tmp_path / "a" / "runs.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    work = Planned()
    client.scaling_study(work, [1, 2], repeats=1, name="a", folder=tmp_path)
    assert work.turns == [(2, 1)]
    assert [len(json.loads(line)) for line in file.read_text().splitlines()] == [4, 2, 2]


def test_one_process_at_a_time_has_a_study(client, tmp_path: Path):
    subject = Subject(client.name, "strong", {1: "rowing", 2: "rowing"}, "[]")
    with (
        Ledger(tmp_path / "a", "a", subject),
        pytest.raises(ConflictError, match="at work in another process"),
    ):
        client.scaling_study(Planned(), [1, 2], name="a", folder=tmp_path)


def test_an_error_of_the_platform_says_at_which_width(client, tmp_path):
    work = Planned(failure=JobFailedError("rank 3: exit code 9", rank="3"))
    with pytest.raises(JobFailedError, match="width 4, run 2 of 5: rank 3: exit code 9") as caught:
        client.scaling_study(work, [1, 2, 4], folder=tmp_path, name="a")
    assert caught.value.rank == 3


def test_an_error_of_the_users_own_is_raised_as_itself_with_a_note(client, tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        client.scaling_study(
            Planned(failure=ZeroDivisionError("x")), [1, 2, 4], folder=tmp_path, name="a"
        )
    assert caught.value.__notes__ == ["in the scaling study a: width 4, run 2 of 5"]


@pytest.mark.parametrize(
    ("words", "field", "message"),
    [
        ({"widths": []}, "widths", "widths cannot be"),
        ({"widths": "12"}, "widths", "widths cannot be '12'"),
        ({"widths": 4}, "widths", "widths cannot be 4"),
        ({"widths": [0, 1]}, "widths", "from 1 to"),
        ({"widths": [1, 2.5]}, "widths", "a whole number"),
        ({"widths": [1, 4, 2]}, "widths", "each larger than the one before"),
        ({"widths": [1, 2, 2]}, "widths", "each larger than the one before"),
        ({"repeats": 0}, "repeats", "from 1 to"),
        ({"mode": "stong"}, "mode", 'did you mean "strong"'),
        ({"bound": 1.5}, "bound", "between 0 and 1"),
        ({"confidence": True}, "confidence", "between 0 and 1"),
        ({"name": "../a"}, "name", "letters, digits"),
    ],
)
def test_wrong_words_are_refused_and_leave_nothing(client, tmp_path, words, field, message):
    work = Planned()
    with pytest.raises(InvalidRequestError, match=message) as caught:
        client.scaling_study(work, folder=tmp_path / "new", **words)
    assert caught.value.field == field
    assert work.turns == []
    assert not (tmp_path / "new").exists()


def test_a_width_that_can_never_be_is_refused_before_anything_runs(client, tmp_path):
    work = Planned()
    with pytest.raises(InvalidRequestError, match="width 128: only 64 boats"):
        client.scaling_study(work, [1, 128], folder=tmp_path)
    assert work.turns == []


@pytest.mark.parametrize("spec", [fit, fit.s(1), 7, None, lambda _: fit, lambda _: 7])
def test_what_has_no_width_is_refused(client, tmp_path, spec):
    with pytest.raises(InvalidRequestError, match="has no width to scale") as caught:
        client.scaling_study(spec, folder=tmp_path)
    assert "heat.s(512)" in caught.value.allowed


def test_calls_that_do_not_grow_are_no_weak_scaling(client, tmp_path):
    calls = gridloom.group(fit.s(c) for c in range(4))
    with pytest.raises(InvalidRequestError, match="4 calls of fit are the same at every width"):
        client.scaling_study(calls, mode="weak", folder=tmp_path)


def test_what_is_no_ledger_is_named(client, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "runs.jsonl").write_text("{}\nx\n")
    with pytest.raises(ConflictError, match="is no ledger"):
        client.scaling_study(Planned(), name="a", folder=tmp_path)


def test_studies_without_a_name_are_never_the_same(client, tmp_path):
    first, second = Planned(), Planned()
    for work in (first, second):
        client.scaling_study(work, [1, 2], repeats=1, folder=tmp_path)
    assert first.turns == second.turns


def test_one_call_has_nothing_to_share():
    with pytest.raises(InvalidRequestError, match="nothing to share"):
        work_of(gridloom.group(fit.s(1)), {})


@pytest.mark.parametrize(
    ("spec", "unit", "text"),
    [
        (heat.s(512), "ranks", "heat(512)"),
        (["./solver", "--n", "{width}"], "ranks", "./solver --n '{width}'"),
        ("./solver -n 3", "ranks", "./solver -n 3"),
        (gridloom.group(fit.s(c) for c in (1, 2)), "workers", "group(fit(1), fit(2))"),
        (fit.chunks([(1,), (2,), (3,)], 2), "workers", "fit.chunks(3 sets of arguments, 2)"),
        (lambda width: heat.s(100 * width), "ranks", "heat(400)"),
        (lambda width: Planned(f"{width} oars"), "boats", "4 oars"),
    ],
)
def test_every_kind_of_spec_is_work(spec, unit, text):
    work = work_of(spec, {})
    assert work.unit == unit
    assert work.text(4).startswith(text)


def test_a_title_is_short():
    image = np.zeros((300, 64))
    assert (
        work_of(heat.s(image, [0] * 99, n=3), {}).title == "heat(ndarray 300x64, list of 99, n=3)"
    )
    assert work_of(gridloom.group(fit.s(c) for c in range(9)), {}).title == "9 calls of fit"
    assert work_of(lambda width: heat.s(100 * width), {}).title == "heat(100)"


def test_other_data_are_other_work():
    one, other = (work_of(heat.s(list(range(999)), [last]), {}).text(1) for last in (1, 2))
    assert one != other
    assert len(one) < 400
    more = heat.options(cpus=2)
    assert work_of(more.s(1), {}).text(1) != work_of(heat.s(1), {}).text(1)
    assert work_of(heat.options(ranks=9).s(1), {}).text(1) == work_of(heat.s(1), {}).text(1)


@pytest.mark.parametrize("spec", [heat.s(1), gridloom.group(fit.s(c) for c in (1, 2))])
def test_a_misspelt_option_is_refused(spec):
    with pytest.raises(InvalidRequestError, match='did you mean "memory"'):
        work_of(spec, {"memry": "1GiB"})


async def test_the_asyncio_face_is_the_same(client, tmp_path):
    work = Planned()
    found = await aio.AsyncClient(client).scaling_study(work, [1, 2], repeats=1, folder=tmp_path)
    assert len(found.runs) == 2


async def test_a_cancelled_study_begins_no_other_run(client, tmp_path):
    begun, over = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(Planned):
        def run(self, client: Client, turn: Turn) -> Run:
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(over.wait(), loop).result(30)
            return super().run(client, turn)

    work = Slow()
    task = asyncio.create_task(
        aio.AsyncClient(client).scaling_study(work, [1, 2], repeats=1, name="a", folder=tmp_path)
    )
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    over.set()
    again = Planned()
    for _ in range(100):
        try:
            client.scaling_study(again, [1, 2], repeats=1, name="a", folder=tmp_path)
            break
        except ConflictError:  # it has its ledger until its run is over
            await asyncio.sleep(0.02)
    assert (work.turns, again.turns) == ([(1, 1)], [(2, 1)])
