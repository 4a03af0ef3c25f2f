from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from gridloom.cli.__main__ import run
from gridloom_services.common.store import Database
from gridloom_services.embedded.doctor import examine
from gridloom_services.embedded.finding import Finding, Verdict
from gridloom_services.objects.catalogue import add
from gridloom_services.objects.ref import ObjectRef
from gridloom_services.objects.schema import SCHEMA
from gridloom_services.objects.store.files import LocalFiles

if TYPE_CHECKING:
    from pathlib import Path


async def make_home(home: Path, *contents: bytes) -> None:
    """A home with an objects store in which these bytes are."""
    folder = home / "objects"
    folder.mkdir(parents=True)
    files = LocalFiles(folder)
    files.open()
    database = await Database.open(f"sqlite:///{folder / 'objects.db'}", SCHEMA)
    for content in contents:
        digest = digest_of(content)
        draft = files.draft()
        draft.write(content)
        draft.commit(digest)
        ref = ObjectRef(digest, len(content))
        await database.run(lambda cursor, ref=ref: add(cursor, ref, 0))
    await database.close()
    (home / "token").write_text("t")
    (home / "token").chmod(0o600)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def content_path(home: Path, content: bytes) -> Path:
    name = digest_of(content).removeprefix("sha256:")
    return home / "objects" / "content" / name[:2] / name


def found(home: Path, check: str, *, deep: bool = False) -> Finding:
    return next(each for each in examine(home, deep=deep) if each.check == check)


async def test_a_sound_home_has_no_problem(tmp_path: Path):
    await make_home(tmp_path, b"one", b"two")
    findings = list(examine(tmp_path, deep=True))
    assert not [each for each in findings if each.verdict is Verdict.PROBLEM]
    assert found(tmp_path, "contents").detail == "2 objects, all there"
    assert "revision 0001" in found(tmp_path, "objects").detail


async def test_a_missing_content_is_a_problem(tmp_path: Path):
    await make_home(tmp_path, b"one", b"two")
    content_path(tmp_path, b"one").unlink()
    finding = found(tmp_path, "contents")
    assert finding.verdict is Verdict.PROBLEM
    assert digest_of(b"one") in finding.detail


async def test_changed_bytes_are_seen_by_a_deep_look(tmp_path: Path):
    await make_home(tmp_path, b"one")
    content_path(tmp_path, b"one").write_bytes(b"ONE")
    assert found(tmp_path, "contents").verdict is Verdict.OK
    assert found(tmp_path, "contents", deep=True).verdict is Verdict.PROBLEM


async def test_a_content_without_a_row_is_only_litter(tmp_path: Path):
    await make_home(tmp_path, b"one")
    litter = content_path(tmp_path, b"litter")
    litter.parent.mkdir(exist_ok=True)
    litter.write_bytes(b"litter")
    assert found(tmp_path, "contents").verdict is Verdict.REMARK


async def test_a_damaged_database_is_a_problem_that_says_what_to_do(tmp_path: Path):
    await make_home(tmp_path)
    path = tmp_path / "objects" / "objects.db"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096))
    finding = found(tmp_path, "objects")
    assert finding.verdict is Verdict.PROBLEM
    assert "move it away" in finding.detail
    assert "contents" not in {each.check for each in examine(tmp_path)}


@pytest.mark.parametrize(("revision", "words"), [("9999", "use a newer one"), ("none", "none")])
async def test_a_newer_database_is_a_problem(tmp_path: Path, revision: str, words: str):
    await make_home(tmp_path)
    with closing(sqlite3.connect(tmp_path / "objects" / "objects.db")) as connection, connection:
        connection.execute("UPDATE gridloom_objects_version SET version_num = ?", (revision,))
    finding = found(tmp_path, "objects")
    assert finding.verdict is Verdict.PROBLEM
    assert words in finding.detail


async def test_a_token_that_others_may_read_is_a_problem(tmp_path: Path):
    await make_home(tmp_path)
    (tmp_path / "token").chmod(0o644)
    assert "chmod 600" in found(tmp_path, "token").detail


async def test_a_platform_that_has_died_is_a_remark(tmp_path: Path):
    await make_home(tmp_path)
    record = {"address": "127.0.0.1:1", "pid": 2**22 - 1, "started": 0, "token_file": "x"}
    (tmp_path / "platform.json").write_text(json.dumps({**record, "version": "0", "protocol": 1}))
    finding = found(tmp_path, "platform")
    assert finding.verdict is Verdict.REMARK
    assert "has died" in finding.detail


async def test_the_verb_prints_findings_and_ends_with_1_where_there_is_a_problem(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    await make_home(tmp_path, b"one")
    assert run(["--home", str(tmp_path), "doctor", "--json"]) == 0
    checks = {each["check"]: each["verdict"] for each in json.loads(capfd.readouterr().out)}
    assert checks["contents"] == "ok"
    content_path(tmp_path, b"one").unlink()
    assert run(["--home", str(tmp_path), "doctor"]) == 1
    assert "missing or wrong" in capfd.readouterr().out


def test_a_home_that_is_not_there_is_no_problem(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert run(["--home", str(tmp_path / "none"), "doctor"]) == 0
    assert "nothing at" in capfd.readouterr().err
