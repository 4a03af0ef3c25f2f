from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from gridloom.context import Context, Contexts, contexts_file, read_contexts
from gridloom.errors import InvalidRequestError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def contexts(tmp_path: Path) -> Contexts:
    lab = Context("lab", address="hpc.example.org", api_key='se"cret', project="chem")
    return Contexts(tmp_path / "deep" / "config.toml").having(lab)


def test_without_a_file_the_embedded_platform_is_current(tmp_path: Path):
    contexts = read_contexts(tmp_path / "none.toml")
    assert contexts.current == "embedded"
    assert contexts.get("embedded").is_embedded


def test_what_was_written_is_read_again(contexts: Contexts):
    chosen = contexts.using("lab").having(Context("big one", home="/srv/grid"))
    chosen.write()
    again = read_contexts(chosen.file)
    assert again == chosen
    assert again.get("lab").api_key == 'se"cret'


def test_only_the_user_may_read_the_keys(contexts: Contexts):
    contexts.write()
    assert stat.S_IMODE(contexts.file.stat().st_mode) == 0o600
    assert [file.name for file in contexts.file.parent.iterdir()] == ["config.toml"]


def test_a_context_never_shows_its_key(contexts: Contexts):
    assert "cret" not in repr(contexts)


def test_an_unknown_context_is_refused_with_the_nearest_one(contexts: Contexts):
    with pytest.raises(NotFoundError, match='did you mean "lab"'):
        contexts.using("lap")
    with pytest.raises(NotFoundError, match="has: embedded, lab"):
        contexts.get("zzz")


def test_the_embedded_platform_is_current_when_the_current_one_goes(contexts: Contexts):
    assert contexts.using("lab").without("lab").current == "embedded"
    assert [each.name for each in contexts.everything()] == ["embedded", "lab"]


def test_a_key_is_found_by_its_address(contexts: Contexts):
    found = contexts.at("hpc.example.org")
    assert found is not None
    assert found.name == "lab"
    assert contexts.at("elsewhere") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("current = ", "cannot be read"),
        ("curent = 'x'", 'did you mean "current"'),
        ("[contexts.lab]\nadress = 'x'", 'did you mean "address"'),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str, complaint: str):
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(InvalidRequestError, match=complaint):
        read_contexts(file)


def test_the_file_is_where_the_environment_says():
    assert str(contexts_file({"GRIDLOOM_CONFIG": "/x/y.toml"})) == "/x/y.toml"
    assert str(contexts_file({"XDG_CONFIG_HOME": "/c"})) == "/c/gridloom/config.toml"
    assert contexts_file({}).parts[-3:] == (".config", "gridloom", "config.toml")
