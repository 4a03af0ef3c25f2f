"""A study as a plot and in a notebook."""

from __future__ import annotations

import sys
from xml.etree import ElementTree as ET

import pytest
from gridloom.errors import GridloomWarning, NotInstalledError
from gridloom.studies import laws

from tests.unit.sdk.studies.test_study import study

TIMES = {
    q: [1 / laws.amdahl_speedup(q, 0.1), 1.01 / laws.amdahl_speedup(q, 0.1)] for q in (1, 2, 4)
}


@pytest.fixture
def found():
    return study({**TIMES, 8: [0.4]}, cores=4, title="price $5, <b> & $6")


def test_the_plot_says_all_of_it(found):
    root = ET.fromstring(found.svg())
    text = " ".join(root.itertext())
    for word in ("ideal", "Amdahl, serial 10", "95 % interval", "fewer cores than needed", "ranks"):
        assert word in text
    assert "price $5, <b> & $6" in text


def test_a_notebook_gets_table_and_plot(found):
    page = found._repr_html_()
    assert "<td>8*</td>" in page
    assert "&lt;b&gt; &amp; $6" in page
    assert "data:image/svg+xml;base64," in page


@pytest.mark.slow
def test_it_is_saved_as_document_and_pictures(found, tmp_path):
    paths = found.save(tmp_path / "new")
    assert [path.name for path in paths] == ["s.json", "s.png", "s.svg"]
    document, png, svg = (path.read_bytes() for path in paths)
    assert found.svg().encode() == svg
    assert document.startswith(b"{")
    assert png.startswith(b"\x89PNG")
    assert b"<svg" in svg


def test_what_a_plot_needs_is_named_where_it_is_missing(found, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(NotInstalledError, match=r"pip install 'gridloom\[plot\]'"):
        found.png()
    with pytest.warns(GridloomWarning, match="matplotlib"):
        assert [path.name for path in found.save(tmp_path)] == ["s.json"]
    assert found._repr_png_() is None
    assert "<table>" in found._repr_html_()


@pytest.mark.slow
def test_a_single_width_can_be_drawn():
    assert study({2: [1.0, 1.1]})._repr_png_().startswith(b"\x89PNG")
