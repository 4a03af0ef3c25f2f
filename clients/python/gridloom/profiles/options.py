"""The word `profile` of functions and MPI jobs."""

from __future__ import annotations

from gridloom.errors import InvalidRequestError
from gridloom.options import check_choice
from gridloom.worker.profiling.words import CPROFILE, KINDS


def profile_kind(given: bool | str | None) -> str:  # noqa: FBT001  # as users say it
    """What is meant: "cprofile", "sampling", or empty for none. True is "cprofile"."""
    if given is None or isinstance(given, bool):
        return CPROFILE if given else ""
    if not isinstance(given, str):
        raise InvalidRequestError(
            f"profile cannot be {given!r}; give True or one of: {', '.join(KINDS)}",
            field="profile",
            given=repr(given),
            allowed=", ".join(("True", *KINDS)),
        )
    check_choice("profile", given, KINDS)
    return given
