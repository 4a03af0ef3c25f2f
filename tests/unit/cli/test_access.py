"""Keys, members, the audit log, and logging in, at the command line."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import pytest
from gridloom.api.scheduler.v1 import access_pb2 as pb
from gridloom.cli.__main__ import run
from gridloom.context import read_contexts

from tests.support.scripted import Abort

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scripted import ScriptedPlatform
    from tests.unit.cli.conftest import CommandLine

SECRET = "glk_7f3k9q2m4x1z_" + "S" * 43
KEY = pb.Key(id="7f3k9q2m4x1z", owner="ada", project="chem", role=pb.ACCESS_ROLE_SUBMITTER)
ADA = pb.WhoAmIResponse(
    name="ada", kind="user", project="chem", role=pb.ACCESS_ROLE_SUBMITTER, key_id=KEY.id
)


class TestKeys:
    def test_a_new_key_alone_is_on_standard_output(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        made = pb.CreateKeyResponse(key=KEY, secret=SECRET, owner_was_added=True)
        platform.script("CreateKey", made)
        ended = gridloom(
            *("keys", "create", "--project", "chem", "--role", "submitter"),
            *("--owner", "ada", "--expires", "90d", "--description", "laptop"),
        )
        assert ended.out == f"{SECRET}\n"
        assert "ada is a member of chem now: submitter" in ended.err
        (asked,) = platform.requests["CreateKey"]
        assert (asked.owner, asked.project, asked.role) == ("ada", "chem", 2)
        assert asked.description == "laptop"
        assert asked.HasField("expires_at")
        assert gridloom("keys", "create", "--json").document["secret"] == SECRET

    def test_a_role_that_is_none_is_refused_before_anybody_is_asked(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        ended = gridloom("keys", "create", "--role", "boss")
        assert ended.code == 2
        assert "roles are viewer, submitter, operator, admin" in ended.err
        assert not platform.requests["CreateKey"]

    def test_keys_are_listed_with_their_state(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        revoked, expired = pb.Key(), pb.Key()
        for key in (revoked, expired):
            key.CopyFrom(KEY)
        revoked.revoked_at.GetCurrentTime()
        expired.expires_at.FromSeconds(1)
        platform.script("ListKeys", pb.ListKeysResponse(keys=[KEY, revoked, expired]))
        rows = gridloom("keys", "list", "--all").out.splitlines()[1:]
        assert [row.split()[4] for row in rows] == ["active", "revoked", "expired"]
        assert rows[0].split()[:4] == ["7f3k9q2m4x1z", "ada", "chem", "submitter"]
        document = gridloom("keys", "list", "--json").document[0]
        assert (document["id"], document["state"], document["expires_at"]) == (
            *("7f3k9q2m4x1z", "active"),
            None,
        )

    def test_a_key_is_revoked_by_its_id_also_where_the_key_itself_is_given(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        platform.script("RevokeKey", pb.RevokeKeyResponse(key=KEY))
        assert gridloom("keys", "revoke", SECRET).out == "key 7f3k9q2m4x1z of ada is revoked\n"
        assert platform.requests["RevokeKey"][0].key_id == KEY.id

    def test_a_refusal_is_one_sentence_and_exit_code_3(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        sentence = 'CreateKey needs the role "admin" in project "chem"; ada has "viewer" there'
        refused = Abort(
            grpc.StatusCode.PERMISSION_DENIED, sentence, "PERMISSION_DENIED", {"role": "admin"}
        )
        platform.script("CreateKey", refused)
        ended = gridloom("keys", "create")
        assert (ended.code, ended.err) == (3, f"gridloom: {sentence}\n")


def test_members_are_listed_set_and_removed(gridloom: CommandLine, platform: ScriptedPlatform):
    member = pb.Member(project="chem", user="ada", role=pb.ACCESS_ROLE_OPERATOR, added_by="root")
    platform.script("ListMembers", pb.ListMembersResponse(members=[member]))
    platform.script("SetMember", pb.SetMemberResponse(member=member))
    platform.script("RemoveMember", pb.RemoveMemberResponse())
    assert gridloom("members", "list").out.splitlines()[1].split()[:3] == [
        *("ada", "chem", "operator"),
    ]
    ended = gridloom("members", "set", "ada", "operator", "--project", "chem")
    assert ended.out == "ada is operator in chem\n"
    assert platform.requests["SetMember"][0].project == "chem"
    assert gridloom("members", "remove", "ada").code == 0


class TestAudit:
    def entries(self, *numbers: int) -> list[pb.AuditEntry]:
        return [
            pb.AuditEntry(
                id=f"id{number}",
                actor="ada",
                action="job.cancel",
                project="chem",
                objects=["job_1"],
                object_count=30,
                result="OK",
            )
            for number in numbers
        ]

    def test_entries_are_listed_over_pages(self, gridloom: CommandLine, platform: ScriptedPlatform):
        first = pb.ListAuditEntriesResponse(entries=self.entries(3, 2), next_page_token="more")
        last = pb.ListAuditEntriesResponse(entries=self.entries(1))
        platform.script("ListAuditEntries", first, last)
        out = gridloom("audit", "--action", "job.", "--result", "refused", "--since", "2h").out
        assert len(out.splitlines()) == 4
        assert "job_1 and 29 more" in out
        asked = platform.requests["ListAuditEntries"]
        assert [each.page_token for each in asked] == ["", "more"]
        assert asked[0].filter == asked[1].filter
        assert (asked[0].filter.action, asked[0].filter.result) == ("job.", "refused")

    def test_no_more_pages_are_read_than_are_shown(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        page = pb.ListAuditEntriesResponse(entries=self.entries(3, 2), next_page_token="more")
        platform.script("ListAuditEntries", page)
        assert gridloom("audit", "--limit", "2", "-q").out == "id3\nid2\n"
        assert len(platform.requests["ListAuditEntries"]) == 1

    def test_a_misspelt_time_is_wrong_usage(
        self, gridloom: CommandLine, platform: ScriptedPlatform
    ):
        assert gridloom("audit", "--since", "yesterdayish").code == 2


class TestLogin:
    @pytest.fixture
    def file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("GRIDLOOM_CONFIG", str(tmp_path / "config.toml"))
        return tmp_path / "config.toml"

    def login(self, platform: ScriptedPlatform, *words: str, key: str = SECRET):
        command = [sys.executable, "-m", "gridloom.cli", "login", platform.address, *words]
        return subprocess.run(
            command, input=f"{key}\n", capture_output=True, text=True, timeout=60, check=False
        )

    def test_a_key_from_a_pipe_is_verified_and_kept_for_its_owner_only(
        self, platform: ScriptedPlatform, file: Path
    ):
        platform.script("WhoAmI", ADA)
        ended = self.login(platform, "--name", "lab")
        assert ended.returncode == 0, ended.stderr
        assert "as ada, submitter in project chem; context lab is current" in ended.stderr
        assert SECRET not in ended.stdout + ended.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        contexts = read_contexts(file)
        assert contexts.current == "lab"
        kept = contexts.get("lab")
        assert (kept.address, kept.api_key, kept.project) == (platform.address, SECRET, "chem")
        assert platform.metadata["WhoAmI"][0]["authorization"] == f"Bearer {SECRET}"

    def test_a_key_that_the_platform_does_not_know_is_not_kept(
        self, platform: ScriptedPlatform, file: Path
    ):
        refused = Abort(grpc.StatusCode.UNAUTHENTICATED, "it was revoked", "UNAUTHENTICATED")
        platform.script("WhoAmI", refused)
        ended = self.login(platform)
        assert (ended.returncode, ended.stderr) == (3, "gridloom: it was revoked\n")
        assert not file.exists()
        assert self.login(platform, key="").returncode == 2

    def test_at_a_terminal_the_key_is_asked_for_and_not_shown(
        self, platform: ScriptedPlatform, file: Path
    ):
        platform.script("WhoAmI", ADA)
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "gridloom.cli", "login", platform.address]
        process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        shown = b""
        while b"API key for" not in shown:
            shown += os.read(ours, 1024)
        os.write(ours, f"{SECRET}\n".encode())
        while b"logged in" not in shown:
            shown += os.read(ours, 1024)
        assert process.wait(30) == 0
        os.close(ours)
        assert SECRET.encode() not in shown
        assert read_contexts(file).get("127.0.0.1").api_key == SECRET

    def test_the_context_is_what_later_verbs_use(
        self, platform: ScriptedPlatform, file: Path, capfd: pytest.CaptureFixture[str]
    ):
        platform.script("WhoAmI", ADA)
        self.login(platform, "--name", "lab")
        assert run(["whoami"]) == 0
        assert "submitter" in capfd.readouterr().out
        assert run(["contexts", "use", "embedded"]) == 0
        assert run(["whoami", "--context", "lab", "--json"]) == 0
        assert '"key_id": "7f3k9q2m4x1z"' in capfd.readouterr().out
        assert platform.metadata["WhoAmI"][-1]["authorization"] == f"Bearer {SECRET}"

    def test_logging_out_forgets_the_key_and_keeps_the_context(
        self, platform: ScriptedPlatform, file: Path, capfd: pytest.CaptureFixture[str]
    ):
        platform.script("WhoAmI", ADA)
        self.login(platform, "--name", "lab")
        assert run(["logout"]) == 0
        assert read_contexts(file).get("lab").api_key == ""
        assert SECRET not in file.read_text()
        assert run(["logout", "lab"]) == 0
        assert "no key is kept" in capfd.readouterr().err

    def test_a_context_is_shown_without_its_key(
        self, platform: ScriptedPlatform, file: Path, capfd: pytest.CaptureFixture[str]
    ):
        platform.script("WhoAmI", ADA)
        self.login(platform, "--name", "lab")
        for words in (["contexts", "show"], ["contexts", "show", "lab", "--json"]):
            assert run(words) == 0
            out = capfd.readouterr().out
            assert platform.address in out
            assert SECRET not in out

    def test_a_file_with_keys_that_others_may_read_is_refused(
        self, platform: ScriptedPlatform, file: Path, capfd: pytest.CaptureFixture[str]
    ):
        platform.script("WhoAmI", ADA)
        self.login(platform, "--name", "lab")
        file.chmod(0o640)
        assert run(["whoami"]) == 2
        assert f"chmod 600 {file}" in capfd.readouterr().err
        file.chmod(0o600)
        assert run(["logout"]) == 0
        file.chmod(0o644)
        assert run(["contexts", "list"]) == 0
