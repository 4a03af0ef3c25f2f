"""The user's own modules, from the client's side to a worker's."""

from __future__ import annotations

import importlib
import io
import os
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
from gridloom.errors import InvalidRequestError
from gridloom.worker.bundle import bundle_for
from gridloom.worker.modules import ModuleShelf


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder of the user's own modules on the path; writes them and imports them."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def write(**files):
        for name, source in files.items():
            path = folder / (name.replace("__in__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return importlib.import_module

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def names(made):
    with zipfile.ZipFile(io.BytesIO(made.data)) as archive:
        return sorted(archive.namelist())


def test_an_installed_function_needs_nothing():
    assert bundle_for(np.sum) is None
    assert bundle_for(os.getcwd) is None


def test_the_modules_that_a_module_imports_go_along(project):
    load = project(
        gl_one="import gl_two\nimport json, numpy\ndef run(): return gl_two.value()\n",
        gl_two="from gl_three import three\ndef value(): return three\n",
        gl_three="three = 3\n",
        gl_four="",
    )
    load("gl_four")
    assert names(bundle_for(load("gl_one").run)) == ["gl_one.py", "gl_three.py", "gl_two.py"]


def test_what_is_imported_inside_a_function_goes_along(project):
    load = project(
        gl_one="def run():\n    import gl_late\n    return gl_late.x\n",
        gl_late="x = 1\n",
    )
    assert names(bundle_for(load("gl_one").run)) == ["gl_late.py", "gl_one.py"]


def test_packages_come_with_their_parents_and_relative_imports(project):
    load = project(
        gl_pkg__in____init__="",
        gl_pkg__in__sub__in____init__="",
        gl_pkg__in__sub__in__mod="from ..other import x\nfrom . import near\ndef run(): return x\n",
        gl_pkg__in__sub__in__near="",
        gl_pkg__in__other="x = 5\n",
    )
    assert names(bundle_for(load("gl_pkg.sub.mod").run)) == [
        "gl_pkg/__init__.py",
        "gl_pkg/other.py",
        "gl_pkg/sub/__init__.py",
        "gl_pkg/sub/mod.py",
        "gl_pkg/sub/near.py",
    ]


def test_a_folder_without_init_is_a_package_there_too(project):
    load = project(gl_space__in__mod="def run(): return 1\n")
    made = bundle_for(load("gl_space.mod").run)
    assert names(made) == ["gl_space/__init__.py", "gl_space/mod.py"]


def test_the_same_modules_make_the_same_zip(project):
    load = project(gl_one="def run(): return 1\n")
    first, second = bundle_for(load("gl_one").run), bundle_for(load("gl_one").run)
    assert first == second
    assert first.modules == ("gl_one",)


def test_a_changed_module_makes_another_zip(project):
    load = project(gl_one="def run(): return 1\n")
    first = bundle_for(load("gl_one").run)
    project(gl_one="def run(): return 2\n")
    assert bundle_for(load("gl_one").run).digest != first.digest


def test_partials_methods_and_decorated_functions_are_looked_into(project):
    import functools

    load = project(
        gl_one=(
            "class Model:\n    def fit(self): pass\n"
            "def plain(x): pass\n"
            "import functools\n"
            "@functools.lru_cache\ndef cached(): pass\n"
        ),
    )
    module = load("gl_one")
    for function in (functools.partial(module.plain, 1), module.Model().fit, module.cached):
        assert names(bundle_for(function)) == ["gl_one.py"]


def test_too_much_is_refused(project):
    load = project(gl_one=f"def run(): return 1\n#{'x' * 200}\n")
    with pytest.raises(InvalidRequestError, match="the limit is 100"):
        bundle_for(load("gl_one").run, limit_bytes=100)


def test_code_of_main_takes_along_what_main_has_imported(tmp_path):
    (tmp_path / "gl_helper.py").write_text("def help(): return 1\n")
    (tmp_path / "gl_model.py").write_text("class Model: pass\n")
    (tmp_path / "main.py").write_text(
        textwrap.dedent("""
        import gl_helper
        from gl_model import Model
        from gridloom.worker.bundle import bundle_for

        def run():
            return gl_helper.help()

        print(*bundle_for(run).modules)
        print(*bundle_for(lambda: 1).modules)
        """)
    )
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["gl_helper gl_model"] * 2


# ---- on the worker


@pytest.fixture
def shelf(tmp_path):
    """A shelf, and a dictionary of the bundles that it can fetch."""
    stored = {}
    path, modules = list(sys.path), set(sys.modules)
    yield ModuleShelf(tmp_path / "shelf", stored.__getitem__), stored
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def zipped(**files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, source in files.items():
            archive.writestr(f"{name}.py", source)
    return file.getvalue()


def test_an_active_bundle_can_be_imported(shelf):
    modules, stored = shelf
    stored["sha256:1"] = zipped(gl_shipped="value = 1\n")
    modules.activate("sha256:1")
    assert importlib.import_module("gl_shipped").value == 1


def test_modules_of_the_same_name_do_not_mix(shelf):
    modules, stored = shelf
    stored["sha256:1"] = zipped(gl_shipped="value = 1\ncount = []\n")
    stored["sha256:2"] = zipped(gl_shipped="value = 2\n")
    modules.activate("sha256:1")
    first = importlib.import_module("gl_shipped")
    modules.activate("sha256:2")
    assert importlib.import_module("gl_shipped").value == 2
    modules.activate("sha256:1")
    assert importlib.import_module("gl_shipped") is first


def test_no_bundle_means_no_module_of_it(shelf):
    modules, stored = shelf
    stored["sha256:1"] = zipped(gl_shipped="")
    modules.activate("sha256:1")
    importlib.import_module("gl_shipped")
    modules.activate("")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("gl_shipped")


def test_a_bundle_is_fetched_once(shelf, tmp_path):
    modules, stored = shelf
    stored["sha256:1"] = zipped(gl_shipped="value = 1\n")
    modules.activate("sha256:1")
    modules.activate("")
    stored.clear()
    modules.activate("sha256:1")
    ModuleShelf(tmp_path / "shelf", stored.__getitem__).activate("sha256:1")
    assert importlib.import_module("gl_shipped").value == 1
