"""Distributions that an image has no use for go with what only they needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.images.leave_out import leave_out

if TYPE_CHECKING:
    from pathlib import Path


def install(folder: Path, name: str, *needs: str) -> None:
    """What pip leaves of a distribution: a package, its metadata, and the list of its files."""
    package, metadata = folder / name, folder / f"{name}-1.0.dist-info"
    package.mkdir()
    metadata.mkdir()
    (package / "__init__.py").touch()
    requirements = "".join(f"Requires-Dist: {need}\n" for need in needs)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requirements}"
    )
    files = (f"{name}/__init__.py", f"{name}-1.0.dist-info/METADATA", "../../bin/run")
    (metadata / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def test_what_others_need_stays_and_what_only_they_needed_goes(tmp_path: Path):
    install(tmp_path, "platform", "sdk (>=1)", "shared")
    install(tmp_path, "sdk", "console>=2 ; python_version > '3'")
    install(tmp_path, "console", "colours", "shared")
    install(tmp_path, "colours")
    install(tmp_path, "shared")
    assert leave_out(tmp_path, ["platform>=1"], ["console"]) == ["colours", "console"]
    left = {path.name for path in tmp_path.iterdir() if "." not in path.name}
    assert left == {"platform", "sdk", "shared"}
    assert not (tmp_path / "console-1.0.dist-info").exists()


def test_nothing_goes_that_nobody_named(tmp_path: Path):
    install(tmp_path, "alone")
    install(tmp_path, "other", "alone")
    assert leave_out(tmp_path, ["other"], ["never-there"]) == []


def test_two_that_need_each_other_stay_when_one_was_asked_for(tmp_path: Path):
    install(tmp_path, "files", "remote ; extra == 'all'")
    install(tmp_path, "remote", "files")
    assert leave_out(tmp_path, ["files"], ["console"]) == []
