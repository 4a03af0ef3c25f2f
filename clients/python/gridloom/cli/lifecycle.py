"""Starting and stopping the embedded platform."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from gridloom import inventory
from gridloom.cli import exits
from gridloom.errors import ConflictError, InvalidRequestError, UnavailableError
from gridloom.home import MODULE, EmbeddedPlatform, PlatformRecord, StartOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridloom.cli.verb import Here
    from gridloom.jobs.handle import Job

STOP_PATIENCE_S = 30.0
_NAMED = 3
_LOOK_EVERY_S = 0.02


def platform_document(
    platform: EmbeddedPlatform | None, record: PlatformRecord | None
) -> dict[str, object]:
    """A platform for programs; what is not known is null."""
    return {
        "home": str(platform.home) if platform else None,
        "running": record is not None,
        "address": record.address if record else None,
        "pid": record.pid if record else None,
        "version": record.version if record else None,
    }


def bring_up(here: Here, options: StartOptions, *, foreground: bool) -> None:
    """Start it, or say that it runs."""
    platform = replace(_embedded(here), options=options)
    running = platform.running()
    if foreground:
        if running is not None:
            raise ConflictError(f"the platform on {platform.home} runs already (pid {running.pid})")
        words = [sys.executable, "-m", MODULE, "--home", str(platform.home), *options.arguments()]
        os.execv(sys.executable, words)  # noqa: S606  # this process becomes the platform
    if running is not None and options != StartOptions():
        here.screen.say("it runs already: its options stay as they are until `gridloom down`")
    if running is None:
        with here.screen.busy(f"starting the platform on {platform.home}"):
            running = platform.start()
    if here.screen.as_json:
        here.screen.document(platform_document(platform, running))
    else:
        here.screen.words([f"Gridloom is up on {running.address}; its home is {platform.home}"])


def bring_down(here: Here, *, cancel: bool, keep: bool) -> None:
    """Stop it, after settling what becomes of unfinished work.

    What is kept is there at the next `up`: jobs run on meanwhile; calls wait on disk, and those
    that ran begin anew, since the workers end with the platform.
    """
    if cancel and keep:
        raise InvalidRequestError("--cancel and --keep exclude each other")
    platform = _embedded(here)
    record = platform.running()
    if record is None:
        here.screen.say(f"no platform runs on {platform.home}")
        return
    if not keep:
        _settle(here, cancel=cancel)
    here.close()
    with here.screen.busy(f"stopping the platform on {platform.home}"):
        _stop(record.pid)
    here.screen.say(f"the platform on {platform.home} is down")


def _settle(here: Here, *, cancel: bool) -> None:
    """Cancel pools, which are nobody's work, and the work where that is wanted."""
    unfinished = list(here.client.jobs(state="unfinished", project=""))
    pools = here.client.pools(project="")
    jobs = sum(1 for job in unfinished if job.info.kind != "pool")
    calls = sum(pool.queued_calls + pool.running_calls for pool in pools)
    if (jobs or calls) and not cancel and not _agreed(_amount(jobs, calls)):
        raise typer.Exit(exits.FAILED)
    with here.screen.busy("cancelling what is unfinished"):
        for pool in pools:
            here.client.connection.run(inventory.close_pool(pool.id, cancel_running=True))
        if unfinished:
            here.client.cancel(unfinished, reason="`gridloom down`")
            _wait_for(here, unfinished)


def _wait_for(here: Here, cancelled: Sequence[Job]) -> None:
    try:
        here.client.wait(cancelled, timeout=STOP_PATIENCE_S, progress=False)
    except TimeoutError:
        left = [job.id for job in cancelled if not job.refresh().state.is_final]
        raise ConflictError(
            f"{', '.join(left[:_NAMED])}{', ...' if len(left) > _NAMED else ''} did not end within"
            f" {STOP_PATIENCE_S:g} s of the cancel: `gridloom jobs show` says why;"
            " `gridloom down --keep` stops the platform all the same",
            given=", ".join(left),
        ) from None


def _amount(jobs: int, calls: int) -> str:
    """For a sentence: "2 jobs and 1 call"."""
    counts = ((jobs, "job"), (calls, "call"))
    return " and ".join(f"{n:,} {noun}{'s' if n > 1 else ''}" for n, noun in counts if n)


def _agreed(amount: str) -> bool:
    """Whether a person at the terminal wants unfinished work cancelled; a script must say so."""
    if not sys.stdin.isatty():
        raise ConflictError(
            f"there is unfinished work ({amount}): --cancel cancels it, --keep leaves it for the"
            " next `gridloom up`"
        )
    return typer.confirm(f"Cancel unfinished work ({amount})? (`--keep` leaves it)", err=True)


def _stop(pid: int) -> None:
    """Ask it to end, and wait until it has."""
    try:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_PATIENCE_S
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(_LOOK_EVERY_S)
    except ProcessLookupError:
        return
    raise UnavailableError(f"the platform (pid {pid}) has not ended after {STOP_PATIENCE_S:g} s")


def _embedded(here: Here) -> EmbeddedPlatform:
    platform = here.embedded
    if platform is None:
        raise InvalidRequestError(
            f"{here.place.locator.name} is not a platform of this machine's own"
        )
    return platform
