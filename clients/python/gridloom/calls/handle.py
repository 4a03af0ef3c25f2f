"""What maps and workflows tell of themselves as groups: asked of the platform, by their id."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gridloom.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom.calls.events import CallEvent
    from gridloom.calls.group import Group
    from gridloom.calls.session import Session
    from gridloom.calls.states import CallState
    from gridloom.jobs.info import Explanation
    from gridloom.profiles.profile import Profile


_LOOK_AGAIN_S = 0.02


def arrived_group(session: Session, identifier: str, *, first_call: int = 0) -> Group:
    """A group of this session, when the platform has it: what is asked of it may go another way.

    It is there with its first call; a group without one (0) is looked for. Where the platform has
    accepted none of it, what its calls were refused with is raised.
    """
    from gridloom.calls.group import Group

    group = Group(session.connection, identifier)
    outbox, patience_s = session.outbox, session.connection.patience_s
    if not session.flush(patience_s) and outbox.acknowledged < first_call and outbox.error:
        raise outbox.error
    if not first_call:
        _look_for(group, session, patience_s)
    return group


def _look_for(group: Group, session: Session, patience_s: float) -> None:
    ends_at = time.monotonic() + patience_s
    while not _is_there(group):
        if session.outbox.error is not None:
            raise session.outbox.error
        if not session.usable or time.monotonic() > ends_at:
            raise NotFoundError(f"{group.id} does not exist", given=group.id)
        time.sleep(_LOOK_AGAIN_S)


def _is_there(group: Group) -> bool:
    try:
        group.refreshed()
    except NotFoundError:
        return False
    return True


class GroupHandle:
    """Above what has a `group`."""

    __slots__ = ()

    @property
    def group(self) -> Group:
        """The group as any process sees it."""
        raise NotImplementedError

    @property
    def state(self) -> CallState:
        """What all of its calls together are doing now."""
        return self.group.state

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """The lines that its calls printed, where they have `capture_output`."""
        return self.group.logs(follow=follow)

    def profile(self) -> Profile:
        """Where the time of all its calls that are over went, of functions with `profile=True`."""
        return self.group.profile()

    def explain(self) -> Explanation:
        """Why its results are not here: what its calls wait for, and behind what."""
        return self.group.explain()

    def events(self) -> Iterator[CallEvent]:
        """What became of it and of those of its calls that were run again, oldest first."""
        return self.group.events()
