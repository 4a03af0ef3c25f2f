"""The words of profiles. Each rank pays for what it imports: nothing is, here."""

from __future__ import annotations

# Every call is counted and timed, by `cProfile`; or a thread looks a hundred times a second.
CPROFILE = "cprofile"
SAMPLING = "sampling"
# Of a program that is not Python's.
MEMORY = "memory"
KINDS = (CPROFILE, SAMPLING)

# Set to one of `KINDS`: ranks leave a profile each.
VARIABLE = "GRIDLOOM_PROFILE"
# Where, below the working folder; there is a file `asked` as well.
FOLDER = ".gridloom-profile"
ASKED = "asked"


def file_name(rank: int, number: int) -> str:
    """What rank `rank` leaves of its call with this number; 0 is a job's only one."""
    return f"rank.{rank}.{number}"
