"""API keys as text, and as what is kept of them.

A key is "glk_ID_SECRET". The id names it in lists, logs and the database; the secret is 256 random
bits. Kept is HMAC-SHA-256 of the secret under a key of the platform's own. A slow hash (bcrypt,
Argon2) would add nothing: it makes the guessing of *weak* passwords expensive, and nobody guesses
256 random bits; but it would cost each call a tenth of a second. The platform's key means that
somebody who can only write to the database cannot add a key that opens anything.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import field

from gridloom.values import dataclass

PREFIX = "glk_"
_ID_LENGTH = 12
# 43 of 62 letters and digits hold 256 bits; nothing in a key ends a word that is double-clicked.
_SECRET_LENGTH = 43
_LETTERS = string.ascii_letters + string.digits
_ID_LETTERS = string.ascii_lowercase + string.digits
_SHAPE = re.compile(r"glk_([a-z0-9]{12})_([A-Za-z0-9]{32,86})")
SHAPE_WORDS = f"{PREFIX}ID_SECRET: 12 of a-z0-9, and 32 to 86 letters and digits"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in the clear. It is shown once and never kept."""

    id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """As its owner writes it."""
        return f"{PREFIX}{self.id}_{self.secret}"


@dataclass(frozen=True, slots=True)
class KeyProof:
    """What is shown of a key to whoever keeps the keys: enough to compare, not to use it."""

    id: str
    digest: bytes = field(repr=False)


def new_key() -> ApiKey:
    """A key that nobody has had."""
    return ApiKey(_random(_ID_LETTERS, _ID_LENGTH), _random(_LETTERS, _SECRET_LENGTH))


def is_key(text: str) -> bool:
    """It wants to be a key, and not one of the other tokens."""
    return text.startswith(PREFIX)


def read_key(text: str) -> ApiKey | None:
    """The key that is written here; None where it cannot be one."""
    found = _SHAPE.fullmatch(text)
    return ApiKey(found[1], found[2]) if found else None


class KeyHasher:
    """Makes what is kept of a key."""

    def __init__(self, secret: bytes) -> None:
        self._pepper = hmac.digest(secret, b"gridloom api keys", hashlib.sha256)

    def proof(self, key: ApiKey) -> KeyProof:
        """The same for the same key, on every service that has the platform's secret."""
        return KeyProof(key.id, hmac.digest(self._pepper, key.secret.encode(), hashlib.sha256))


def _random(letters: str, length: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))
