"""Tokens: signed ones for the processes of a gang and for services, and the files of the rest.

A signed token is "glt1.CLAIMS.SIGNATURE" (base64url, HMAC-SHA-256): whoever holds the secret can
check it without asking anybody. It tells who it was given to; it hides nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

from gridloom.worker.supervision.records import sync_folder

from gridloom_services.common.auth import Principal
from gridloom_services.common.errors import SettingsError, UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PREFIX = "glt1"
_SECRET_BYTES = 32
DEFAULT_LIFETIME_S = 30 * 24 * 3600.0


class SignedTokens:
    """Issues and checks the tokens of one platform."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def sign(self, claims: dict[str, Any], lifetime_s: float) -> str:
        """A token that says `claims` until `lifetime_s` from now."""
        whole = {**claims, "exp": int(self._clock() + lifetime_s)}
        body = _encoded(json.dumps(whole, separators=(",", ":")).encode())
        return f"{_PREFIX}.{body}.{self._signature(body)}"

    def claims(self, token: str) -> dict[str, Any]:
        """What the token says. UnauthenticatedError if it is not ours, or was only until now."""
        prefix, _, rest = token.partition(".")
        body, _, signature = rest.partition(".")
        is_ours = prefix == _PREFIX and rest.isascii()
        if not is_ours or not hmac.compare_digest(signature, self._signature(body)):
            raise UnauthenticatedError("the token is not this platform's")
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if found["exp"] < self._clock():
            raise UnauthenticatedError("the token has expired")
        return found

    def _signature(self, body: str) -> str:
        return _encoded(hmac.digest(self._secret, body.encode(), hashlib.sha256))


class GangTokens:
    """The tokens of gangs: good for one attempt of a job, and dead with it.

    Who knows which gangs live (the scheduler, in its process) says so by `set_liveness`. Elsewhere
    it is asked, see `gangs.py`; here a token is good as long as its lifetime lasts.
    """

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._tokens = SignedTokens(secret, clock)
        self._is_alive: Callable[[Principal], bool] | None = None

    def issue(
        self,
        job_id: str,
        attempt: int,
        project: str,
        element: int | None = None,
        lifetime_s: float = DEFAULT_LIFETIME_S,
        *,
        owner: str = "",
    ) -> str:
        """A token for the processes of this attempt (of this element, in an array)."""
        claims = {"job": job_id, "att": attempt, "prj": project, "own": owner}
        if element is not None:
            claims["el"] = element
        return self._tokens.sign(claims, lifetime_s)

    def verify(self, token: str) -> Principal:
        """Whose it is. UnauthenticatedError if it is nobody's, has expired, or its gang ended."""
        claims = self._tokens.claims(token)
        if "job" not in claims:
            raise UnauthenticatedError("the token is not a gang's")
        job_id = str(claims["job"])
        principal = Principal(
            name=str(claims["own"]) or job_id,
            kind="gang",
            project=str(claims["prj"]),
            job_id=job_id,
            attempt=int(claims["att"]),
            element=claims.get("el"),
        )
        if not self.is_alive(principal):
            raise UnauthenticatedError(over(principal))
        return principal

    authenticate = verify

    @property
    def knows_the_living(self) -> bool:
        """Nobody else has to be asked whether a gang lives."""
        return self._is_alive is not None

    def is_alive(self, principal: Principal) -> bool:
        """Whether a gang lives, as far as that is known here."""
        return self._is_alive is None or self._is_alive(principal)

    def set_liveness(self, is_alive: Callable[[Principal], bool]) -> None:
        """Ask `is_alive` at every check from now on. It must be quick: it is asked at each call."""
        self._is_alive = is_alive


def over(gang: Principal) -> str:
    """Why the token of a gang that has ended opens nothing."""
    return f"attempt {gang.attempt} of {gang.job_id} is over"


class ServiceTokens:
    """The tokens by which services know each other."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._tokens = SignedTokens(secret, clock)

    def issue(self, service: str, lifetime_s: float = 10 * 365 * 24 * 3600.0) -> str:
        """A token for a service of this platform."""
        return self._tokens.sign({"svc": service}, lifetime_s)

    def authenticate(self, token: str) -> Principal:
        """The service. UnauthenticatedError if it is none."""
        claims = self._tokens.claims(token)
        if "svc" not in claims:
            raise UnauthenticatedError("the token is not a service's")
        return Principal(name=str(claims["svc"]), kind="service", project="")


def read_or_create_token(path: Path) -> str:
    """The token in this file of mode 0600; made now if there is none."""
    return _read_or_create(path, secrets.token_urlsafe(_SECRET_BYTES).encode()).decode().strip()


def read_or_create_secret(path: Path) -> bytes:
    """The 32 secret bytes in this file of mode 0600; made now if there are none."""
    return _read_or_create(path, secrets.token_bytes(_SECRET_BYTES))


def platform_secret(home: Path, given: Path | None) -> bytes:
    """The secret that the services of a platform share: the given file's, else the home's own.

    SettingsError where the given file cannot be it.
    """
    if given is None:
        return read_or_create_secret(home / "secret")
    try:
        secret = given.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"the secret file {given} cannot be read: {error.strerror}", field="secret_file"
        ) from error
    if len(secret) < _SECRET_BYTES:
        raise SettingsError(
            f"the secret file {given} has {len(secret)} bytes; it takes {_SECRET_BYTES} or more",
            field="secret_file",
        )
    return secret


def _read_or_create(path: Path, fresh: bytes) -> bytes:
    """What is in the file. Several processes that begin together end up with the same."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(fresh)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another was faster: its content counts
        finally:
            draft.unlink()
        sync_folder(path.parent)
    return path.read_bytes()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
