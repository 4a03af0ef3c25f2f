from __future__ import annotations

import hashlib

import pytest
from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.objects.ref import Sha256, check_digest
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.binary()))
def test_the_digest_does_not_depend_on_how_the_content_was_cut(parts):
    found = Sha256()
    for part in parts:
        found.add(part)
    assert found.digest == f"sha256:{hashlib.sha256(b''.join(parts)).hexdigest()}"
    assert check_digest(found.digest) == found.digest


@pytest.mark.parametrize(
    "text", ["", "x", "a" * 64, f"sha256:{'A' * 64}", f"sha256:{'a' * 63}", f"sha256:{'a' * 64}\n"]
)
def test_what_is_no_digest_is_refused(text):
    with pytest.raises(InvalidRequestError, match="is not a digest"):
        check_digest(text)
