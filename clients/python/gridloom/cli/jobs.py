"""`gridloom jobs`: what became of work, and what to do about it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gridloom.cli.arguments import IndexOption, JobArgument, JobsArgument, RoleOption, example
from gridloom.cli.verb import Here, verb

if TYPE_CHECKING:
    from gridloom.jobs.filters import JobFilter
    from gridloom.jobs.handle import Job
    from gridloom.jobs.info import JobInfo

app = typer.Typer(help="List, show and change jobs.", no_args_is_help=True, rich_markup_mode=None)

StateOption = Annotated[
    str,
    typer.Option("--state", "-s", help="running, queued, ..., or active, pending, finished."),
]
LabelsOption = Annotated[str, typer.Option("--labels", "-l", help='"study=a,step!=3,!draft".')]
QueueOption = Annotated[str, typer.Option(help="Only this queue's.")]
# A screenful. In a long queue each answer costs the platform some milliseconds.
_MOST_EXPLAINED = 50

GraceOption = Annotated[str, typer.Option(help='Between SIGTERM and SIGKILL: "30s".')]


@app.command("list", epilog=example("gridloom jobs list --state running --labels study=a"))
@verb
def list_jobs(
    here: Here,
    state: StateOption = "",
    labels: LabelsOption = "",
    queue: QueueOption = "",
    owner: Annotated[str, typer.Option(help="Only this user's.")] = "",
    kind: Annotated[str, typer.Option(help="command, pool, ...")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
) -> None:
    """List jobs, newest first."""
    from gridloom.cli.nouns import JOB

    words = {"state": state, "labels": labels, "queue": queue, "owner": owner, "kind": kind}
    found = here.client.jobs(limit=limit, **_filter(words))
    here.screen.many(JOB, _with_reasons([job.info for job in found], here))


def _with_reasons(jobs: list[JobInfo], here: Here) -> list[JobInfo]:
    """Jobs that wait say why: the first of them, each of which is a question of its own."""
    from gridloom.jobs import operations
    from gridloom.jobs.states import JobState, PendingReason
    from gridloom.values import replace

    if here.screen.quiet:
        return jobs
    waiting = [each for each in jobs if each.state in {JobState.HELD, JobState.QUEUED}]
    why = {}
    for each in waiting[:_MOST_EXPLAINED]:
        found = here.client.connection.run(operations.explain(each.id))
        if found.reason is not PendingReason.NONE:  # it has begun meanwhile
            why[each.id] = found.message
    return [replace(job, reason=why.get(job.id, job.reason)) for job in jobs]


@app.command(epilog=example("gridloom jobs show job_01jc5x0q8m3n7v9z2k4t6w8y0a"))
@verb
def show(
    here: Here,
    job: JobArgument,
    events: Annotated[bool, typer.Option("--events", help="Show its history.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say why it waits.")] = False,
) -> None:
    """Show all there is to know about a job.

    Of one that waits, also why and behind what.
    """
    from gridloom.cli.details import show_events, show_explanation, show_job

    handle = here.client.job(job)
    if events:
        show_events(here, handle)
    elif explain:
        show_explanation(here, handle)
    else:
        show_job(here, handle)


@app.command(epilog=example("gridloom jobs logs -f job_01jc5x0q8m3n7v9z2k4t6w8y0a"))
@verb
def logs(
    here: Here,
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until it is over.")] = False,
    role: RoleOption = "",
    index: IndexOption = None,
    tail: Annotated[int, typer.Option("--tail", "-n", help="Only the last so many lines.")] = 0,
    stream: Annotated[str, typer.Option(help="stdout, stderr or both.")] = "both",
    attempt: Annotated[int, typer.Option(help="Of this attempt; 0: the newest.")] = 0,
) -> None:
    """Print what a job wrote.

    Its output goes to standard output, its errors to standard error.
    """
    from gridloom.cli.streaming import print_logs
    from gridloom.jobs.logs import LogQuery

    query = LogQuery(job, follow, role or None, index, tail or None, stream, attempt or None)
    print_logs(here, here.client.job(job), query)


@app.command(epilog=example("gridloom jobs cancel job_01jc5x0q8m3n7v9z2k4t6w8y0a --grace 30s"))
@verb
def cancel(
    here: Here,
    jobs: JobsArgument = [],  # noqa: B006  # Typer's way to make it optional; never changed
    state: StateOption = "",
    labels: LabelsOption = "",
    queue: QueueOption = "",
    grace: GraceOption = "",
    reason: Annotated[str, typer.Option(help="Why, for whoever asks.")] = "",
) -> None:
    """End jobs.

    Those named, or all unfinished ones that --state, --labels or --queue choose.
    """
    words = {"state": state, "labels": labels, "queue": queue}
    meant = jobs or _chosen(here, words)
    _told(here, here.client.cancel(meant, grace or None, reason), "cancelled")


@app.command(epilog=example("gridloom jobs retry job_01jc5x0q8m3n7v9z2k4t6w8y0a"))
@verb
def retry(here: Here, jobs: JobsArgument) -> None:
    """Submit jobs again, as new ones that name the old."""
    from gridloom.cli.nouns import JOB

    again = [here.client.job(job).retry().info for job in jobs]
    here.screen.done(JOB, again, lambda job: f"{job.id} repeats {job.retry_of}")


@app.command(epilog=example("gridloom jobs hold job_01jc5x0q8m3n7v9z2k4t6w8y0a"))
@verb
def hold(here: Here, jobs: JobsArgument) -> None:
    """Keep waiting jobs from starting."""
    _told(here, here.client.hold(jobs), "held")


@app.command(epilog=example("gridloom jobs release job_01jc5x0q8m3n7v9z2k4t6w8y0a"))
@verb
def release(here: Here, jobs: JobsArgument) -> None:
    """Let held jobs go on."""
    _told(here, here.client.release(jobs), "released")


@app.command(epilog=example("gridloom jobs watch --labels study=a"))
@verb
def watch(
    here: Here,
    jobs: JobsArgument = [],  # noqa: B006
    state: StateOption = "",
    labels: LabelsOption = "",
    queue: QueueOption = "",
    from_revision: Annotated[
        int, typer.Option(help="Only what comes after this revision.", min=0)
    ] = 0,
) -> None:
    """Print changes of jobs as they happen.

    Until the jobs named are over; without any, until Ctrl-C.
    """
    from gridloom.cli.streaming import print_changes

    words = {"state": state, "labels": labels, "queue": queue}
    print_changes(here, jobs, _filter(words), from_revision)


@app.command(
    "exec",
    epilog=example("gridloom jobs exec job_01jc5x0q8m3n7v9z2k4t6w8y0a -- ls -l"),
    context_settings={"allow_interspersed_args": False},
)
@verb
def exec_in_job(
    here: Here,
    job: JobArgument,
    command: Annotated[list[str], typer.Argument(metavar="CMD...", show_default=False)],
    role: RoleOption = "",
    index: Annotated[int, typer.Option(help="In the replica with this number.")] = 0,
) -> None:
    """Run a command beside a running job.

    In its folder and with its environment. The exit code is the command's.
    """
    from gridloom.cli.streaming import exec_with_terminal

    words = command[1:] if command[0] == "--" else command
    raise typer.Exit(exec_with_terminal(here, job, words, role, index))


@app.command(
    epilog=example("gridloom jobs profile job_01jc5x0q8m3n7v9z2k4t6w8y0a --flame flame.svg")
)
@verb
def profile(
    here: Here,
    job: Annotated[str, typer.Argument(metavar="JOB", help="Or a call, or a group of calls.")],
    rank: Annotated[int | None, typer.Option(help="Of this rank only.")] = None,
    top: Annotated[int, typer.Option("--top", "-n", min=1, help="So many functions.")] = 20,
    flame: Annotated[str, typer.Option(metavar="FILE.svg", help="Draw a flame graph.")] = "",
    save: Annotated[
        str, typer.Option(metavar="FILE", help="For pstats; .txt: collapsed stacks.")
    ] = "",
) -> None:
    """Show where the time of a job went, and the most memory that it took.

    Of MPI jobs and functions that were run with profile=True.
    """
    from gridloom.cli.profiles import show_profile

    show_profile(here, job, rank=rank, top=top, flame=flame, save=save)


def _filter(words: dict[str, str]) -> JobFilter:
    """The words that were said."""
    return {word: said for word, said in words.items() if said}  # type: ignore[return-value]


def _chosen(here: Here, words: dict[str, str]) -> list[str]:
    """The unfinished jobs that the words choose; all of them is never meant by saying nothing."""
    from gridloom.errors import InvalidRequestError

    chosen = _filter(words)
    if not chosen:
        raise InvalidRequestError("name jobs, or choose them by --state, --labels or --queue")
    chosen.setdefault("state", "unfinished")
    return [job.id for job in here.client.jobs(**chosen)]


def _told(here: Here, jobs: list[Job], done: str) -> None:
    """Say of each job what became of it."""
    from gridloom.cli.nouns import JOB

    def sentence(job: JobInfo) -> str:
        return f"{job.id} {done}" if not job.state.is_final else f"{job.id} is {job.state}"

    here.screen.done(JOB, [job.info for job in jobs], sentence)
    if not jobs:
        print("no jobs", file=sys.stderr)
