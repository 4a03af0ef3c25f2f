"""Data files of packages, from the client's side to a worker's."""

from __future__ import annotations

import importlib
import io
import sys
import zipfile

import pytest
from gridloom.errors import InvalidRequestError
from gridloom.worker import package_data
from gridloom.worker.bundle import bundle_for
from gridloom.worker.modules import ModuleShelf
from gridloom.worker.package_data import data_files

RUN = """
from importlib import resources

def run():
    return resources.files(__package__).joinpath("tables/numbers.csv").read_text()
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package of the user's own."""
    folder = tmp_path / "project" / "gl_data"
    (folder / "tables" / "__pycache__").mkdir(parents=True)
    (folder / "inner").mkdir()
    (folder / ".hidden").mkdir()
    for name, content in {
        "__init__.py": "",
        "code.py": RUN,
        "tables/numbers.csv": "1,2,3",
        "tables/__pycache__/x.bin": "",
        "weights.bin": "w",
        "inner/__init__.py": "",
        "inner/own.txt": "",
        ".hidden/secret": "",
        ".env": "",
    }.items():
        (folder / name).write_text(content)
    monkeypatch.syspath_prepend(str(folder.parent))
    importlib.invalidate_caches()
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_files_beside_the_modules_are_found_and_code_and_hidden_ones_are_not(package):
    assert list(data_files("gl_data", package)) == ["tables/numbers.csv", "weights.bin"]


def test_they_travel_with_the_package_and_are_found_there(package, tmp_path):
    run = importlib.import_module("gl_data.code").run
    made = bundle_for(run)
    with zipfile.ZipFile(io.BytesIO(made.data)) as archive:
        assert archive.read("gl_data/tables/numbers.csv") == b"1,2,3"
    assert made.modules == ("gl_data", "gl_data.code")
    del sys.modules["gl_data"], sys.modules["gl_data.code"]
    sys.path.remove(str(package.parent))
    shelf = ModuleShelf(tmp_path / "modules", lambda _: made.data)
    shelf.activate(made.digest)
    try:
        assert importlib.import_module("gl_data.code").run() == "1,2,3"
    finally:
        shelf.activate("")
        sys.path.insert(0, str(package.parent))


def test_changed_data_makes_another_bundle(package):
    run = importlib.import_module("gl_data.code").run
    first = bundle_for(run).digest
    assert bundle_for(run).digest == first
    (package / "tables" / "numbers.csv").write_text("4")
    assert bundle_for(run).digest != first


def test_a_package_may_say_what_it_needs(package):
    (package / "__init__.py").write_text('__gridloom_data__ = ("tables/*.csv",)')
    run = importlib.import_module("gl_data.code").run
    assert list(data_files("gl_data", package)) == ["tables/numbers.csv"]
    sys.modules["gl_data"].__gridloom_data__ = ()
    assert data_files("gl_data", package) == {}
    assert bundle_for(run) is not None


def test_too_much_data_is_refused_with_what_to_do(package):
    with (package / "weights.bin").open("wb") as file:
        file.truncate(package_data.LIMIT_BYTES)
    run = importlib.import_module("gl_data.code").run
    with pytest.raises(InvalidRequestError, match="__gridloom_data__") as caught:
        bundle_for(run)
    assert str(package) in str(caught.value)
    sys.modules["gl_data"].__gridloom_data__ = ("tables/*",)
    assert bundle_for(run) is not None


def test_too_many_files_are_refused(package):
    for number in range(package_data.MOST_FILES):
        (package / "tables" / f"{number}.txt").touch()
    with pytest.raises(InvalidRequestError, match="2,000 files"):
        data_files("gl_data", package)
