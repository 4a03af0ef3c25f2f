"""From a spec to a study: run what is missing, one run after the other, and sum up."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloom.calls.progress import progress_for
from gridloom.errors import GridloomError, InvalidRequestError
from gridloom.home import EmbeddedPlatform, default_home
from gridloom.interrupt import as_interrupt, say
from gridloom.studies.ledger import Ledger, Subject
from gridloom.studies.options import OWN_WORDS, study_plan
from gridloom.studies.study import WEAK, ScalingStudy, study_of
from gridloom.studies.texts import digest_of
from gridloom.studies.work import Turn, work_of
from gridloom.studies.workers import Workers

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence

    from gridloom.client import Client
    from gridloom.studies.options import StudyPlan
    from gridloom.studies.study import Run
    from gridloom.studies.work import Work


class Stopped(Exception):  # noqa: N818  # no error: somebody has asked for it
    """The study was told to make no further run."""


def conduct(
    client: Client,
    spec: Any,
    widths: Sequence[int],
    mode: str,
    repeats: int,
    words: Mapping[str, Any],
    stop: threading.Event | None = None,
) -> ScalingStudy:
    """The whole study. See `Client.scaling_study`."""
    options = {word: value for word, value in words.items() if word not in OWN_WORDS}
    work = _work(spec, options, mode)
    plan = study_plan(widths, mode, repeats, words, work.title)
    texts = {width: work.text(width) for width in plan.widths}
    subject = Subject(client.name, plan.mode, texts, digest_of(repr(sorted(options.items()))))
    folder = Path(words.get("folder") or _home(client) / "studies") / plan.name
    with Ledger(folder, plan.name, subject) as ledger:
        with closing(progress_for(plan.name, words.get("progress"))) as bar:
            for run in _missing(client, work, plan, ledger, stop):
                ledger.add(run)
                turns = plan.turns()
                bar.update(sum(turn in ledger.runs for turn in turns), 0, len(turns))
        runs = [ledger.runs[turn] for turn in plan.turns()]
    return study_of(
        runs,
        name=plan.name,
        title=work.title,
        unit=work.unit,
        mode=plan.mode,
        bound=plan.bound,
        confidence=plan.confidence,
    )


def _work(spec: Any, options: Mapping[str, Any], mode: str) -> Work:
    work = work_of(spec, options)
    if mode == WEAK and isinstance(work, Workers):
        raise InvalidRequestError(
            f"these {work.title} are the same at every width: weak scaling needs work that grows",
            field="spec",
            allowed="a function from the width to the calls: lambda workers: gridloom.group(...)",
        )
    return work


def _missing(
    client: Client, work: Work, plan: StudyPlan, ledger: Ledger, stop: threading.Event | None
) -> Iterator[Run]:
    """Make the runs that are not kept yet, one after the other."""
    missing = [turn for turn in plan.turns() if turn not in ledger.runs]
    if missing:
        _check(client, work, plan.widths)
    for width, repeat in missing:
        if stop is not None and stop.is_set():
            raise Stopped
        yield _run(client, work, plan, Turn(plan.name, ledger.key, width, repeat))


def _home(client: Client) -> Path:
    """Of the embedded platform; of others there is none here, but there is a folder of ours."""
    locator = client.connection.locator
    return locator.home if isinstance(locator, EmbeddedPlatform) else default_home()


def _check(client: Client, work: Work, widths: Sequence[int]) -> None:
    """What holds the widest holds all."""
    widest = widths[-1]
    try:
        work.check(client, widest)
    except InvalidRequestError as error:
        raise _told(error, f"width {widest}") from None


def _run(client: Client, work: Work, plan: StudyPlan, turn: Turn) -> Run:
    """One run; what goes wrong says in which it did."""
    where = f"width {turn.width}, run {turn.repeat} of {plan.repeats}"
    try:
        with as_interrupt():
            return work.run(client, turn)
    except KeyboardInterrupt:
        say(
            f"\nThe scaling study was interrupted at {where}. It goes on from there when it is"
            f' begun again under its name, "{turn.study}".'
        )
        raise
    except GridloomError as error:
        raise _told(error, where) from error.__cause__
    except Exception as error:
        error.add_note(f"in the scaling study {turn.study}: {where}")
        raise


def _told(error: GridloomError, where: str) -> GridloomError:
    """The same error, which says where."""
    error.message = f"{where}: {error.message}"
    error.args = (error.message,)
    return error
