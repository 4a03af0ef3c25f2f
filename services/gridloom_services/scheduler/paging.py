"""Page tokens: opaque to clients, good for the question that they belong to only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from gridloom_services.common.errors import InvalidRequestError
from gridloom_services.scheduler.validation import check_between

DEFAULT_PAGE = 100
MAX_PAGE = 1000


def page_size(asked: int) -> int:
    """Return how many rows to answer with."""
    check_between("page_size", asked, 0, MAX_PAGE)
    return asked or DEFAULT_PAGE


def write_token(question: bytes, *place: int) -> str:
    """Return the token of a place in the answer to a question."""
    return base64.urlsafe_b64encode(json.dumps([_digest(question), *place]).encode()).decode()


def read_token(token: str, question: bytes, places: int) -> tuple[int, ...] | None:
    """Return the place that a token means; None: the beginning.

    InvalidRequestError for a token that is none, or that belongs to another question.
    """
    if not token:
        return None
    try:
        digest, *place = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
    except (ValueError, TypeError, binascii.Error):
        raise _refusal(token, "is no token") from None
    if digest != _digest(question):
        raise _refusal(token, "belongs to another filter")
    if len(place) != places or not all(isinstance(each, int) for each in place):
        raise _refusal(token, "is no token")
    return tuple(place)


def _digest(question: bytes) -> str:
    return hashlib.sha256(question).hexdigest()[:16]


def _refusal(token: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the page token {why}",
        field="page_token",
        given=token,
        allowed="the last answer's next_page_token, with the same filter; or none",
    )
