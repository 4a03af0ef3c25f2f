"""The words between a rank and its agent. Each rank pays for what it imports: nothing is, here."""

from __future__ import annotations

# What a rank has left, as it says and as reports have it.
VALUE = "value"  # the pickle of a result
ERROR = "error"  # a CallError of the functions API, serialised

# What ranks of functions find in their environment besides `GRIDLOOM_MPI_FOLDER` and `..._RANK`.
CALL_VARIABLE = "GRIDLOOM_MPI_CALL"
MODULES_VARIABLE = "GRIDLOOM_MPI_MODULES"
ROOT_ONLY_VARIABLE = "GRIDLOOM_MPI_ROOT_ONLY"
# Set: the rank waits for calls, numbers of which come through a pipe of its own.
WORLD_VARIABLE = "GRIDLOOM_MPI_WORLD"
# Set: where, below the working folder, the agent is to leave the times of a program's ranks.
TIMES_VARIABLE = "GRIDLOOM_MPI_TIMES"
# Behind a number there: what the call before it has left in flight must not reach this one.
FRESH = "fresh"
# In the place of a call there: no more come.
END = "end"
# What its shell says of a rank that has not ended well: the code in the place of a call's number.
EXIT = "exit"
# What a door says where ranks speak: its process, in the place of a call's number.
DOOR = "door"


def call_name(number: int) -> str:
    """The file in which a call of a world lies."""
    return f"call.{number}"


def answer_name(number: int, rank: int) -> str:
    """The file in which a rank leaves its answer to a call."""
    return f"answer.{number}.{rank}"
