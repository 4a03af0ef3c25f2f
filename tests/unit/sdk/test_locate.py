from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

import pytest
from gridloom.endpoint import Endpoint
from gridloom.errors import InvalidRequestError, NotFoundError
from gridloom.home import EmbeddedPlatform
from gridloom.locate import FixedAddress, GangPlatform, endpoint_of, locate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "config.toml"
    config.write_text(
        'current = "lab"\n'
        '[contexts.lab]\naddress = "hpc.example.org"\napi_key = "k1"\nproject = "chem"\n'
        f'[contexts.mine]\nhome = "{tmp_path}/mine"\nqueue = "fast"\n'
    )
    config.chmod(0o600)
    return {"GRIDLOOM_CONFIG": str(config)}


def fixed(locator: object) -> Endpoint:
    assert isinstance(locator, FixedAddress)
    return locator.endpoint


def test_the_current_context_is_meant_when_nobody_says(environment: dict[str, str]):
    place = locate(environment=environment)
    assert fixed(place.locator) == Endpoint("hpc.example.org:443", token="k1", tls=True)
    assert place.project == "chem"
    assert not place.is_embedded


def test_without_a_file_it_is_the_embedded_platform_in_the_users_home(tmp_path: Path):
    environment = {"GRIDLOOM_CONFIG": str(tmp_path / "none"), "GRIDLOOM_HOME": str(tmp_path)}
    place = locate(environment=environment)
    assert place.locator == EmbeddedPlatform(tmp_path)
    assert place.is_embedded


def test_a_context_may_be_chosen_by_argument_or_environment(
    environment: dict[str, str], tmp_path: Path
):
    place = locate(context="mine", environment=environment)
    assert place.locator == EmbeddedPlatform(tmp_path / "mine")
    assert place.queue == "fast"
    assert locate(environment={**environment, "GRIDLOOM_CONTEXT": "mine"}) == place


def test_an_address_takes_the_key_of_its_context(environment: dict[str, str]):
    assert fixed(locate("hpc.example.org", environment=environment).locator).token == "k1"
    assert fixed(locate("other.org", environment=environment).locator).token == ""


def test_a_key_that_is_given_goes_before_the_environments_and_the_contexts(
    environment: dict[str, str],
):
    environment["GRIDLOOM_API_KEY"] = "k2"
    assert fixed(locate(environment=environment).locator).token == "k2"
    assert fixed(locate(api_key="k3", environment=environment).locator).token == "k3"


def test_defaults_of_the_environment_go_before_the_contexts(environment: dict[str, str]):
    place = locate(environment={**environment, "GRIDLOOM_PROJECT": "bio", "GRIDLOOM_QUEUE": "q"})
    assert (place.project, place.queue) == ("bio", "q")


def test_inside_a_job_its_own_platform_is_meant(environment: dict[str, str]):
    environment |= {"GRIDLOOM_ADDRESS": "127.0.0.1:4000", "GRIDLOOM_TOKEN": "gang"}
    place = locate(environment=environment)
    assert isinstance(place.locator, GangPlatform)
    assert place.locator.find(may_start=True) == Endpoint("127.0.0.1:4000", token="gang")


def test_a_job_finds_its_platform_again_after_a_restart(
    environment: dict[str, str], tmp_path: Path
):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        record = {
            "address": address,
            "pid": os.getpid(),
            "started": 0.0,
            "token_file": "none",
            "version": "0",
            "protocol": 1,
        }
        (tmp_path / "platform.json").write_text(json.dumps(record))
        environment |= {
            "GRIDLOOM_ADDRESS": "127.0.0.1:1",
            "GRIDLOOM_TOKEN": "gang",
            "GRIDLOOM_HOME": str(tmp_path),
        }
        found = locate(environment=environment).locator.find(may_start=False)
    assert found == Endpoint(address, token="gang")


def test_an_exported_address_without_a_token_is_a_users(environment: dict[str, str]):
    environment |= {"GRIDLOOM_ADDRESS": "http://far:7000", "GRIDLOOM_API_KEY": "k9"}
    endpoint = fixed(locate(environment=environment).locator)
    assert endpoint == Endpoint("far:7000", token="k9")


def test_two_answers_to_where_are_refused(environment: dict[str, str]):
    with pytest.raises(InvalidRequestError, match="one of address, context and home"):
        locate("a", home="b", environment=environment)
    with pytest.raises(NotFoundError, match="does not exist"):
        locate(context="zzz", environment=environment)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("hpc.example.org", Endpoint("hpc.example.org:443", tls=True)),
        ("hpc.example.org:8443", Endpoint("hpc.example.org:8443", tls=True)),
        ("https://hpc.example.org/", Endpoint("hpc.example.org:443", tls=True)),
        ("http://hpc.example.org:80", Endpoint("hpc.example.org:80")),
        ("localhost:4000", Endpoint("localhost:4000")),
        ("127.0.0.1", Endpoint("127.0.0.1:7777")),
        ("[::1]:4000", Endpoint("[::1]:4000")),
        ("https://localhost:4000", Endpoint("localhost:4000", tls=True)),
    ],
)
def test_addresses_mean_tls_except_on_this_machine(address: str, expected: Endpoint):
    assert endpoint_of(address) == expected


@pytest.mark.parametrize("address", ["", ":80", "host:port", "host:99999", "ftp://host"])
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(InvalidRequestError) as refusal:
        endpoint_of(address)
    assert refusal.value.field == "address"


def test_only_channels_to_this_machine_ignore_proxies():
    assert ("grpc.enable_http_proxy", 0) in Endpoint("127.0.0.1:1").options
    assert ("grpc.enable_http_proxy", 0) not in Endpoint("far:1").options
