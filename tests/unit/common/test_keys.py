from __future__ import annotations

import pytest
from gridloom_services.common.keys import ApiKey, KeyHasher, is_key, new_key, read_key
from hypothesis import given
from hypothesis import strategies as st

SECRET = b"0" * 32


def test_a_key_is_read_as_it_was_written():
    key = new_key()
    assert is_key(key.text)
    assert read_key(key.text) == key


def test_keys_differ_and_hold_256_random_bits():
    keys = [new_key() for _ in range(100)]
    assert len({key.id for key in keys}) == len({key.secret for key in keys}) == 100
    assert 62 ** len(keys[0].secret) > 2**256


def test_a_key_never_shows_its_secret():
    key = new_key()
    assert key.secret not in repr(key)
    assert "digest" not in repr(KeyHasher(SECRET).proof(key))


@pytest.mark.parametrize(
    "text",
    [
        "glk_",
        "glk_abc_def",
        f"glk_{'a' * 12}_{'b' * 31}",
        f"glk_{'A' * 12}_{'b' * 43}",
        f"glk_{'a' * 12}_{'b' * 43}\n",
        f"glk_{'a' * 12}_{'b' * 42}-",
    ],
)
def test_what_is_not_whole_is_no_key(text):
    assert read_key(text) is None


@given(st.text())
def test_no_other_text_is_read_as_a_key(text):
    assert read_key(text) is None


def test_what_is_kept_of_a_key_is_the_same_on_every_service_of_a_platform_only():
    key = new_key()
    proof = KeyHasher(SECRET).proof(key)
    assert proof == KeyHasher(SECRET).proof(key)
    assert proof.digest != KeyHasher(b"1" * 32).proof(key).digest
    assert proof.digest != KeyHasher(SECRET).proof(ApiKey(key.id, key.secret[::-1])).digest
    assert key.secret.encode() not in proof.digest
