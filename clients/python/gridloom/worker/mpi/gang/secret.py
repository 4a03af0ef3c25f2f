"""How agents of a gang know each other: each proves that it has the gang's token, and shows none.

A proof is an HMAC-SHA256 under the token, over who proves (who calls, or who answers), the method,
the host that is called by its name, and a number that was never used before. What a listener
hears of one call opens no other; who answers without the token is found out before it is told
anything. Numbers are remembered by the agent that was called, for as long as it lives.

What follows is plain: a proof begins a call and does not cover its messages. Who can read the
network reads them, and who can change what passes on it may put in commands of its own. The ranks'
own traffic, which is MPI's, is no different; a network that is not trusted is encrypted below.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NONCE = "gridloom-gang-nonce"
PROOF = "gridloom-gang-proof"
_CALLER = "caller"
_ANSWERER = "answerer"
_NONCE_BYTES = 16

Words = tuple[tuple[str, str], ...]


class StrangerError(Exception):
    """Who speaks does not have the gang's token."""


class GangSecret:
    """What the agents of one gang share. ValueError without a token: there would be no secret."""

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("a gang over several hosts needs its token: GRIDLOOM_TOKEN is not set")
        self._key = token.encode()
        self._seen: set[str] = set()

    def caller_words(self, method: str, host: str) -> Words:
        """Metadata of a call to the host."""
        nonce = secrets.token_hex(_NONCE_BYTES)
        return (NONCE, nonce), (PROOF, self._proof(_CALLER, method, host, nonce))

    def answerer_words(
        self, method: str, host: str, metadata: Iterable[tuple[str, object]]
    ) -> Words:
        """The host's own proof, for a caller who has given one. StrangerError: it has not."""
        words = dict(metadata)
        nonce, proof = str(words.get(NONCE, "")), str(words.get(PROOF, ""))
        expected = self._proof(_CALLER, method, host, nonce)
        if not hmac.compare_digest(expected.encode(), proof.encode()):
            raise StrangerError("the caller does not have the gang's token")
        if nonce in self._seen:
            raise StrangerError("the caller repeats what another one said")
        self._seen.add(nonce)
        return ((PROOF, self._proof(_ANSWERER, method, host, nonce)),)

    def check_answerer(
        self, method: str, host: str, said: Words, metadata: Iterable[tuple[str, object]]
    ) -> None:
        """StrangerError unless who answers this call (`said`: our words) has the token too."""
        expected = self._proof(_ANSWERER, method, host, dict(said)[NONCE])
        proof = str(dict(metadata).get(PROOF, ""))
        if not hmac.compare_digest(expected.encode(), proof.encode()):
            raise StrangerError("what answers there does not have the gang's token")

    def _proof(self, who: str, method: str, host: str, nonce: str) -> str:
        message = f"gridloom rank agent\0{who}\0{method}\0{host}\0{nonce}"
        return hmac.new(self._key, message.encode(), hashlib.sha256).hexdigest()
