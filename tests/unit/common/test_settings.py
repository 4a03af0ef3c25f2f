from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from gridloom_services.common.errors import SettingsError
from gridloom_services.common.settings import (
    ServerSettings,
    bounded,
    load_server_settings,
    load_settings,
)


@dataclass(frozen=True, slots=True)
class KitchenSettings:
    name: str = "here"
    ovens: int = bounded(2, least=1, most=8)
    heat: float = 180.0
    is_open: bool = True
    folder: Path = Path("/srv")
    cooks: tuple[str, ...] = ()
    limit: int | None = None
    mood: str = bounded("calm", choices=("calm", "busy"))


def load(**environment: str) -> KitchenSettings:
    return load_settings("kitchen", KitchenSettings, environment)


def test_what_is_not_set_has_its_default():
    assert load() == KitchenSettings()


def test_every_type_is_read_from_its_text():
    assert load(
        GRIDLOOM_KITCHEN_NAME="there",
        GRIDLOOM_KITCHEN_OVENS="8",
        GRIDLOOM_KITCHEN_HEAT="99.5",
        GRIDLOOM_KITCHEN_IS_OPEN="False",
        GRIDLOOM_KITCHEN_FOLDER="/tmp/x",
        GRIDLOOM_KITCHEN_COOKS="ada, bob,",
        GRIDLOOM_KITCHEN_LIMIT="5",
        GRIDLOOM_KITCHEN_MOOD="busy",
    ) == KitchenSettings(
        name="there",
        ovens=8,
        heat=99.5,
        is_open=False,
        folder=Path("/tmp/x"),
        cooks=("ada", "bob"),
        limit=5,
        mood="busy",
    )


def test_an_empty_text_is_none_where_none_is_possible():
    assert load(GRIDLOOM_KITCHEN_LIMIT="").limit is None


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("OVENS", "two", 'GRIDLOOM_KITCHEN_OVENS is "two"; a whole number is expected'),
        ("OVENS", "0", "GRIDLOOM_KITCHEN_OVENS is 0; the least is 1"),
        ("OVENS", "9", "GRIDLOOM_KITCHEN_OVENS is 9; the most is 8"),
        ("HEAT", "hot", 'GRIDLOOM_KITCHEN_HEAT is "hot"; a number is expected'),
        ("IS_OPEN", "maybe", 'GRIDLOOM_KITCHEN_IS_OPEN is "maybe"; true or false is expected'),
        ("MOOD", "sad", 'GRIDLOOM_KITCHEN_MOOD is "sad"; it can be calm, busy'),
        (
            "OVEN",
            "1",
            "unknown setting GRIDLOOM_KITCHEN_OVEN; did you mean GRIDLOOM_KITCHEN_OVENS?",
        ),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(key, text, message):
    with pytest.raises(SettingsError) as caught:
        load(**{f"GRIDLOOM_KITCHEN_{key}": text})
    assert caught.value.message == message


def test_an_unknown_setting_like_no_other_is_refused_with_all_names():
    with pytest.raises(SettingsError, match="known are NAME, OVENS, HEAT"):
        load(GRIDLOOM_KITCHEN_ZZZZZZZZZZZZZZZZZ="1")


def test_what_belongs_to_others_is_left_alone():
    load(GRIDLOOM_KITCHEN_ADDRESS="a:1", GRIDLOOM_OTHER_X="1", GRIDLOOM_TOKEN="t", HOME="/root")


def test_a_word_of_the_command_line_wins_and_is_checked_too():
    environment = {"GRIDLOOM_KITCHEN_OVENS": "3"}
    asked = {"ovens": 4, "name": None}
    assert load_settings("kitchen", KitchenSettings, environment, asked) == KitchenSettings(ovens=4)
    with pytest.raises(SettingsError, match="ovens is 99"):
        load_settings("kitchen", KitchenSettings, {}, {"ovens": 99})


def test_a_shared_setting_holds_for_all_services_and_one_services_own_comes_first():
    environment = {
        "GRIDLOOM_PORT": "5000",
        "GRIDLOOM_OBJECTS_PORT": "6000",
        "GRIDLOOM_METRICS_PORT": "9000",
    }
    assert load_server_settings("scheduler", environment).port == 5000
    objects = load_server_settings("objects", environment)
    assert (objects.port, objects.metrics_port) == (6000, 9000)


def test_the_home_is_absolute():
    assert load_server_settings("objects", {}).home == Path.home() / ".gridloom"
    assert load_server_settings("objects", {"GRIDLOOM_HOME": "x"}).home == Path.cwd() / "x"


def test_addresses_are_those_that_were_given():
    settings = ServerSettings(objects_address="a:1")
    assert settings.addresses == {"objects": "a:1"}
