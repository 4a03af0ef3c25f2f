from __future__ import annotations

import os
import stat

import pytest
from gridloom.worker.supervision.collect import collect, is_inside_pattern


@pytest.fixture
def work(tmp_path):
    made = tmp_path / "work"
    (made / "out" / "deep").mkdir(parents=True)
    (made / "a.txt").write_text("a")
    (made / "out" / "b.txt").write_text("bb")
    (made / "out" / "deep" / "c.bin").write_text("ccc")
    return made


def gathered(work, tmp_path, *patterns, link=True):
    return {
        each.path: each.size_bytes
        for each in collect(work, patterns, tmp_path / "outputs", link=link)
    }


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.txt", {"a.txt": 1}),
        ("*.txt", {"a.txt": 1}),
        ("**/*.txt", {"a.txt": 1, "out/b.txt": 2}),
        ("out", {"out/b.txt": 2, "out/deep/c.bin": 3}),
        ("out/", {"out/b.txt": 2, "out/deep/c.bin": 3}),
        ("out/*", {"out/b.txt": 2, "out/deep/c.bin": 3}),
        ("*", {"a.txt": 1, "out/b.txt": 2, "out/deep/c.bin": 3}),
        ("missing", {}),
        ("a**", {"a.txt": 1}),
        ("**t/b.t**", {"out/b.txt": 2}),
        ("", {}),
    ],
)
def test_a_pattern_means_files_and_everything_in_folders(work, tmp_path, pattern, expected):
    assert gathered(work, tmp_path, pattern) == expected


def test_a_file_that_several_patterns_match_is_there_once(work, tmp_path):
    assert gathered(work, tmp_path, "a.txt", "*.txt", "*") == gathered(work, tmp_path, "*")


@pytest.mark.parametrize("pattern", ["../secret", "/etc/hosts", "out/../../secret", "x/../a.txt"])
def test_no_pattern_leads_out_of_the_folder(work, tmp_path, pattern):
    (tmp_path / "secret").write_text("secret")
    assert not is_inside_pattern(pattern)
    assert gathered(work, tmp_path, pattern) == {}


def test_no_link_leads_out_of_the_folder(work, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text("secret")
    (work / "file").symlink_to(tmp_path / "elsewhere" / "secret")
    (work / "folder").symlink_to(tmp_path / "elsewhere")
    (work / "loop").symlink_to("loop")
    (work / "dangling").symlink_to("nowhere")
    assert gathered(work, tmp_path, "file", "folder", "folder/*", "loop", "dangling") == {}


def test_a_link_within_the_folder_brings_what_it_names(work, tmp_path):
    (work / "latest").symlink_to("out/b.txt")
    assert gathered(work, tmp_path, "latest") == {"latest": 2}
    copy = tmp_path / "outputs" / "latest"
    assert copy.read_text() == "bb"
    assert not copy.is_symlink()


def test_what_is_no_plain_file_is_left_out(work, tmp_path):
    os.mkfifo(work / "pipe")
    assert gathered(work, tmp_path, "pipe", "*.txt") == {"a.txt": 1}


def test_modes_are_kept(work, tmp_path):
    (work / "a.txt").chmod(0o750)
    (file,) = collect(work, ["a.txt"], tmp_path / "outputs", link=True)
    assert file.mode == 0o750


def test_files_of_the_users_own_folder_are_copied_and_not_linked(work, tmp_path):
    gathered(work, tmp_path, "a.txt", link=False)
    (work / "a.txt").write_text("changed afterwards")
    assert (tmp_path / "outputs" / "a.txt").read_text() == "a"


def test_gathering_again_replaces_what_was_gathered(work, tmp_path):
    gathered(work, tmp_path, "a.txt", link=False)
    (work / "a.txt").write_text("second")
    assert gathered(work, tmp_path, "a.txt") == {"a.txt": 6}
    copy = tmp_path / "outputs" / "a.txt"
    assert (copy.read_text(), stat.S_ISREG(copy.stat().st_mode)) == ("second", True)
