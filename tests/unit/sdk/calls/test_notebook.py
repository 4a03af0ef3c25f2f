"""What notebooks show of futures, maps and groups."""

from __future__ import annotations

import gridloom
import pytest
from gridloom.calls.notebook import Picture, show_live


@gridloom.function
def square(x):
    return x * x


@gridloom.function
def fail(x):
    raise ValueError(x)


class Display:
    """IPython's `display` and the handle that it answers with."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, bundle, *, raw, display_id) -> Display:
        assert raw
        assert display_id
        self.shown.append(bundle["text/html"])
        return self

    def update(self, bundle, *, raw) -> None:
        assert raw
        self.shown.append(bundle["text/html"])


def picture(done: int) -> Picture:
    return Picture(f"{done}/2", [("done", f"{done}/2")], is_over=done == 2)


def test_a_table_follows_what_it_shows_until_that_is_over():
    seen = iter([0, 1, 1, 2])
    display = Display()
    thread = show_live(lambda: picture(next(seen)), display, refresh_s=0.001)
    thread.join(10)
    assert [one.count("<tr>") for one in display.shown] == [1, 1, 1]
    assert "2/2" in display.shown[-1]


def test_what_is_over_is_shown_once():
    display = Display()
    assert show_live(lambda: picture(2), display) is None
    assert len(display.shown) == 1


def test_what_is_shown_is_escaped():
    assert "&lt;b&gt;" in Picture("", [("name", "<b>")], is_over=True).html


def test_handles_have_tables_and_elsewhere_only_their_text(client):
    future = client.submit(square, 3)
    future.result(10)
    results = client.map(square, range(5))
    list(results)
    failed = client.submit(fail, "<x>")
    failed.exception(10)
    workflow = gridloom.group(square.s(1), square.s(2)).submit()
    workflow.result(10)
    assert "succeeded" in future._repr_html_()
    assert "ValueError(&#x27;&lt;x&gt;&#x27;)" in failed._repr_html_()
    assert "5/5" in results._repr_html_()
    assert "2/2" in workflow._repr_html_()
    assert "square" in results.group._repr_html_()
    with pytest.raises(NotImplementedError):
        future._ipython_display_()
