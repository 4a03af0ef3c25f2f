"""A job in a notebook: a small table that follows the job until it is over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from gridloom import ids
from gridloom.errors import GridloomError
from gridloom.jobs.picture import job_html, job_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridloom.jobs.face import JobVerbs
    from gridloom.jobs.info import JobInfo


def show_live(
    client: JobVerbs, job_id: str, job: JobInfo | None, display: Callable[..., Any]
) -> threading.Thread | None:
    """Show the table by IPython's `display`; a thread keeps it true until the job is over.

    The thread is a daemon: it never holds up the kernel's end.
    """
    shown = display(_bundle(job_id, job), raw=True, display_id=True)
    if shown is None or job is None or job.state.is_final:
        return None
    thread = threading.Thread(
        target=_keep_true, args=(client, job_id, shown), name=f"show {job_id}", daemon=True
    )
    thread.start()
    return thread


def _keep_true(client: JobVerbs, job_id: str, shown: Any) -> None:
    whole, element = ids.split_job_id(job_id)
    try:
        for change in client.watch(ids=[whole], project=""):
            job = change.job if element is None else client.job(job_id).info
            shown.update(_bundle(job_id, job), raw=True)
            if job.state.is_final:
                return
    except GridloomError:
        # The table stays as it was seen last.
        return


def _bundle(job_id: str, job: JobInfo | None) -> dict[str, str]:
    return {"text/html": job_html(job_id, job), "text/plain": job_text(job_id, job)}
