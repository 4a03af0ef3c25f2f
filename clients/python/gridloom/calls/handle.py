"""What maps and workflows tell of themselves as groups: asked of the platform, by their id."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridloom.calls.events import CallEvent
    from gridloom.calls.group import Group
    from gridloom.calls.states import CallState
    from gridloom.jobs.info import Explanation
    from gridloom.profiles.profile import Profile


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
