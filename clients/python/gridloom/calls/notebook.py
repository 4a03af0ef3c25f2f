"""Futures, maps and groups in a notebook: a small table that stays true until it is over."""

from __future__ import annotations

import threading
import time
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from gridloom.calls.progress import in_notebook
from gridloom.errors import GridloomError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REFRESH_S = 0.5


class Picture(NamedTuple):
    """What a table shows now."""

    text: str
    rows: Sequence[tuple[str, str]]
    is_over: bool

    @property
    def html(self) -> str:
        """A small table."""
        cells = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self.rows
        )
        return f"<table>{cells}</table>"

    @property
    def bundle(self) -> dict[str, str]:
        """As IPython wants it."""
        return {"text/html": self.html, "text/plain": self.text}


class Pictured:
    """Base of handles that notebooks show as a table. `_picture` says what is to be seen."""

    __slots__ = ()

    def _picture(self) -> Picture:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return self._picture().html

    def _ipython_display_(self) -> None:
        if not in_notebook():
            raise NotImplementedError  # IPython then takes `repr`
        from IPython.display import display

        show_live(self._picture, display)


def show_live(
    look: Callable[[], Picture], display: Callable[..., Any], *, refresh_s: float = REFRESH_S
) -> threading.Thread | None:
    """Show what `look` sees by IPython's `display`; a daemon thread keeps it true to the end."""
    picture = look()
    shown = display(picture.bundle, raw=True, display_id=True)
    if shown is None or picture.is_over:
        return None
    thread = threading.Thread(
        target=_keep_true, args=(look, shown, refresh_s), name="gridloom-table", daemon=True
    )
    thread.start()
    return thread


def _keep_true(look: Callable[[], Picture], shown: Any, refresh_s: float) -> None:
    last: Picture | None = None
    while last is None or not last.is_over:
        time.sleep(refresh_s)
        try:
            picture = look()
        except GridloomError:  # the table stays as it was seen last
            return
        if last is None or picture.rows != last.rows:
            shown.update(picture.bundle, raw=True)
        last = picture
