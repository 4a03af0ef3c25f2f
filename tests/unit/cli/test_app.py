from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import pytest
import typer
from gridloom.cli import exits
from gridloom.cli.__main__ import verb_word
from gridloom.cli.app import OWN_VERBS, PLATFORM_VERBS, _missing, build
from gridloom.errors import (
    ConflictError,
    GridloomError,
    InvalidRequestError,
    JobFailedError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    UnauthenticatedError,
    UnavailableError,
)
from gridloom.version import VERSION
from typer.main import get_command

from tests.support.scripted import Abort

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scripted import ScriptedPlatform
    from tests.unit.cli.conftest import CommandLine

VERBS = {
    "run": (),
    "jobs": (
        *("list", "show", "logs", "cancel", "retry", "hold", "release", "watch", "exec", "profile"),
    ),
    "projects": ("list", "show", "create", "set", "delete"),
    "queues": ("list", "create", "set", "delete"),
    "functions": ("list",),
    "mpi": ("run",),
    "pools": ("list", "show", "close"),
    "contexts": ("list", "show", "use", "set", "delete"),
    "keys": ("create", "list", "revoke"),
    "members": ("list", "set", "remove"),
    **dict.fromkeys(("login", "logout", "whoami", "audit"), ()),
    **dict.fromkeys(("up", "down", "status", "top", "doctor", "demo", "scaling-study"), ()),
}


COMMAND_LINES = [[noun, *verb] for noun, verbs in VERBS.items() for verb in ([v] for v in verbs)]
COMMAND_LINES += [[noun] for noun, verbs in VERBS.items() if not verbs]


def test_every_verb_is_there_and_no_other():
    command = get_command(build())
    assert set(VERBS) == OWN_VERBS | set(PLATFORM_VERBS)
    assert set(command.commands) == set(VERBS)  # type: ignore[attr-defined]
    for noun, verbs in VERBS.items():
        inner = getattr(command.commands[noun], "commands", {})  # type: ignore[attr-defined]
        assert set(inner) == set(verbs)


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_every_verb_has_help_with_an_example(gridloom: CommandLine, words: list[str]):
    ended = gridloom(*words, "--help")
    assert ended.code == 0
    example = ended.out.partition("Example:\n")[2]
    assert example.strip().startswith(f"gridloom {' '.join(words)}")


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_examples_use_options_that_exist(words: list[str]):
    command = get_command(build())
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    known = {option for param in command.params for option in param.opts}
    ours = (command.epilog or "").partition(" -- ")[0].split()
    assert {word for word in ours if word.startswith("-")} <= known


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequestError("x"), 2),
        (PermissionDeniedError("x"), 3),
        (UnauthenticatedError("x"), 3),
        (QuotaExceededError("x"), 3),
        (UnavailableError("x"), 4),
        (NotFoundError("x"), 1),
        (ConflictError("x"), 1),
        (JobFailedError("x"), 1),
    ],
)
def test_errors_have_exit_codes(error: GridloomError, code: int):
    assert exits.exit_code_of(error) == code


@pytest.mark.parametrize(
    ("exit_code", "signal", "code"), [(0, None, 0), (7, None, 7), (0, 9, 137), (None, None, 125)]
)
def test_a_commands_end_is_told_as_a_shell_would(
    exit_code: int | None, signal: int | None, code: int
):
    assert exits.process_exit_code(exit_code, signal) == code


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (["jobs", "list"], "jobs"),
        (["--home", "run", "--project=x", "top"], "top"),
        (["--help"], None),
        ([], None),
    ],
)
def test_the_verb_is_found_among_the_words(words: list[str], verb: str | None):
    assert verb_word(words) == verb


def test_the_version_is_said(gridloom: CommandLine):
    assert gridloom("--version").out == f"gridloom {VERSION}\n"


def test_wrong_usage_is_exit_code_2_and_of_run_125(gridloom: CommandLine):
    ended = gridloom("jobs", "list", "--stat", "running")
    assert ended.code == 2
    assert "--state" in ended.err
    assert gridloom("jobs", "lst").code == 2
    assert gridloom("run", "--cpu", "1", "--", "true").code == 125


def test_a_refusal_is_exit_code_3_and_one_sentence(
    gridloom: CommandLine, platform: ScriptedPlatform
):
    denied = Abort(grpc.StatusCode.PERMISSION_DENIED, "you are a viewer", "PERMISSION_DENIED")
    platform.script("ListQueues", denied)
    ended = gridloom("queues", "list")
    assert (ended.code, ended.out, ended.err) == (3, "", "gridloom: you are a viewer\n")


def test_nobody_there_is_exit_code_4(gridloom: CommandLine, tmp_path: Path):
    ended = gridloom("--address", "", "--home", str(tmp_path / "none"), "status")
    assert ended.code == 4
    assert "`gridloom up` starts one" in ended.out
    assert not (tmp_path / "none").exists()


def test_where_the_platform_is_may_be_said_after_the_verb(
    platform: ScriptedPlatform, gridloom: CommandLine
):
    from gridloom.api.scheduler.v1 import scheduler_pb2 as pb

    platform.script("ListQueues", pb.ListQueuesResponse())
    elsewhere = ["--address", "127.0.0.1:1"]
    ended = gridloom(*elsewhere, "queues", "list", "--address", platform.address)
    assert ended.code == 0
    assert ended.err == "no queues\n"


def test_platform_verbs_say_what_to_install_where_they_are_missing():
    app = typer.Typer()
    app.command()(_missing("doctor"))
    with pytest.raises(SystemExit) as ended:
        app([])
    assert ended.value.code == 4


def test_neither_the_package_nor_help_imports_what_is_slow():
    program = (
        "import sys\n"
        "import gridloom\n"
        "early = set(sys.modules)\n"
        "from gridloom.cli.__main__ import run\n"
        "code = run(['--help'])\n"
        "slow = {'grpc', 'rich', 'asyncio', 'numpy', 'google.protobuf', 'gridloom.client'}\n"
        "print('slow:', sorted(slow & set(sys.modules)), sorted(slow & early), code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "slow: [] [] 0"
