from __future__ import annotations

from pathlib import Path

import pytest
from gridloom.errors import InvalidRequestError, NotFoundError
from gridloom.jobs.files import PlannedFile, planned_files, program_file, program_word


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    here = tmp_path / "here"
    (here / "data" / "deep").mkdir(parents=True)
    (here / "input.dat").write_text("1")
    (here / "solver").write_text("#!/bin/sh")
    (here / "solver").chmod(0o755)
    (here / "plot.py").write_text("")
    (here / "data" / "a.csv").write_text("a")
    (here / "data" / "deep" / "b.csv").write_text("b")
    (tmp_path / "outside.dat").write_text("2")
    return here


def names(files: list[PlannedFile]) -> list[str]:
    return [file.path for file in files]


def test_a_path_below_the_folder_keeps_its_name(folder: Path):
    assert names(planned_files(["input.dat", "data/a.csv"], folder)) == ["input.dat", "data/a.csv"]
    assert names(planned_files([folder / "input.dat"], folder)) == ["input.dat"]


def test_a_path_from_elsewhere_lies_under_its_last_part(folder: Path):
    assert names(planned_files(["../outside.dat"], folder)) == ["outside.dat"]


def test_a_folder_travels_whole(folder: Path):
    assert names(planned_files(["data"], folder)) == ["data/a.csv", "data/deep/b.csv"]
    assert names(planned_files({"in": "data/deep"}, folder)) == ["in/b.csv"]
    assert "data/deep/b.csv" in names(planned_files(["."], folder))


def test_a_mapping_says_the_names(folder: Path):
    files = planned_files({"x/y.dat": "input.dat", "config.json": b"{}"}, folder)
    assert names(files) == ["x/y.dat", "config.json"]
    assert files[1].source == b"{}"


def test_permissions_travel(folder: Path):
    assert planned_files(["solver"], folder)[0].mode == 0o755


def test_one_path_alone_is_a_list_of_one(folder: Path):
    assert names(planned_files("input.dat", folder)) == ["input.dat"]


@pytest.mark.parametrize("name", ["/abs", "../up", "a/../../b", "."])
def test_names_outside_of_the_working_folder_are_refused(folder: Path, name: str):
    with pytest.raises(InvalidRequestError) as refusal:
        planned_files({name: "input.dat"}, folder)
    assert refusal.value.field == "files"


def test_a_missing_file_is_named(folder: Path):
    with pytest.raises(NotFoundError, match=r"no file .*/nothing\.dat"):
        planned_files(["nothing.dat"], folder)


def test_a_folder_that_leads_back_into_itself_is_refused(folder: Path):
    (folder / "data" / "loop").symlink_to(folder / "data")
    with pytest.raises(InvalidRequestError, match="back into itself"):
        planned_files(["data"], folder)


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (["./solver", "--n", "1"], "solver"),
        (["python", "plot.py"], "plot.py"),
        (["python3.11", "-u", "plot.py", "x"], "plot.py"),
        (["/bin/sh", "-c", "python plot.py && ls"], "plot.py"),
        (["solver"], None),
        (["cat", "input.dat"], None),
        (["python", "-c", "plot.py"], None),
        (["python", "-m", "plot.py"], None),
        (["python", "gone.py"], None),
        (["./gone"], None),
        (["/bin/ls"], None),
        (["../here/solver"], None),
        (["/bin/sh", "-c", "unbalanced ' quote"], None),
    ],
)
def test_the_users_own_program_is_found_in_the_command(
    folder: Path, command: list[str], program: str | None
):
    found = program_file(command, folder)
    assert found == (Path(program) if program else None)


def test_a_job_is_called_by_what_runs_in_it():
    assert program_word(["python", "-u", "train.py"]) == "train.py"
    assert program_word(["python", "-c", "1"]) == "python"
    assert program_word(["/bin/sh", "-c", "make all"]) == "make"
