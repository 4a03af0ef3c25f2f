from __future__ import annotations

from pathlib import Path

import pytest
from gridloom.home import StartOptions
from gridloom_services.embedded.__main__ import arguments


def test_what_is_not_said_is_left_to_the_environment():
    assert set(vars(arguments([])).values()) == {None}


def test_the_words_of_the_sdk_are_understood():
    options = StartOptions(port=5000, cpus=2.5, memory_bytes=1 << 40, idle_timeout_s=0.5, workers=3)
    words = vars(arguments(["--home", "/h", *options.arguments()]))
    assert words == {
        "home": Path("/h"),
        "port": 5000,
        "cpus": 2.5,
        "memory": 1 << 40,
        "idle_timeout": 0.5,
        "workers": 3,
    }


def test_an_unknown_word_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        arguments(["--colour", "red"])
    assert caught.value.code == 2
    assert "--colour" in capsys.readouterr().err
