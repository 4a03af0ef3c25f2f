"""Settings: read once from the environment into one frozen value; what is unknown is an error.

A service's settings are a frozen dataclass. The field `inline_limit_bytes` of the functions
service is `GRIDLOOM_FUNCTIONS_INLINE_LIMIT_BYTES`; a field of `ServerSettings` is
`GRIDLOOM_FUNCTIONS_PORT`, else (for all services at once) `GRIDLOOM_PORT`. Types of fields: str,
int, float, bool, Path, tuple[str, ...], and any of them `| None`. Bounds: `bounded(5, least=1)`.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gridloom.values import dataclass

from gridloom_services.common.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

S = TypeVar("S")

PREFIX = "GRIDLOOM_"

# What the processes of a gang are told has our prefix too, and may be around when a process of a
# job starts a platform of its own.
_OF_GANGS = frozenset({"GRIDLOOM_FUNCTIONS_SOCKET"})

_WORDS_OF_TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def bounded(
    default: Any, *, least: float | None = None, most: float | None = None, choices: Any = None
) -> Any:
    """A field with a default and limits, both inclusive."""
    limits = {"least": least, "most": most, "choices": choices}
    return dataclasses.field(default=default, metadata=limits)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What every process of the platform needs to know."""

    home: Path = Path("~/.gridloom")
    host: str = "127.0.0.1"
    # 0: any free one.
    port: int = bounded(0, least=0, most=65535)
    # Without TLS beside that: for the processes of jobs, where only they reach it. None: none.
    inner_port: int | None = bounded(None, least=0, most=65535)
    # Health and nothing else, without TLS: for probes that speak none. None: none.
    health_port: int | None = bounded(None, least=0, most=65535)
    # Where clients and the processes of jobs find the platform: "HOST:PORT" on this machine, else
    # a URL, "http://HOST:PORT" or (with TLS) "https://HOST:PORT". Empty: host and port.
    public_address: str = ""
    # None: no metrics; 0: any free port.
    metrics_port: int | None = bounded(None, least=0, most=65535)
    log_level: str = bounded("info", choices=("debug", "info", "warning", "error"))
    # Stage one of a stop lasts this long at most.
    grace_s: float = bounded(10.0, least=0)
    # PostgreSQL for every service, each with tables of its own; empty: an SQLite file each.
    database_url: str = ""
    # How long a start waits for PostgreSQL, and for the process before this one to let go of it.
    start_patience_s: float = bounded(3.0, least=0)
    # A unary call whose caller gave no deadline has this one.
    default_deadline_s: float = bounded(60.0, least=0.1)
    # What signs the tokens of gangs and services and keys the hashes of API keys: 32 bytes or more,
    # the same for all services of a platform. None: made in the home. Where it is given there is no
    # token file: people come in with API keys.
    secret_file: Path | None = None
    # For the scheduler: the first administrator's API key, in the shape that `common/keys.py` says.
    bootstrap_admin_key_file: Path | None = None
    # The server's certificate (with those that lead to its root) and its key, PEM; read again when
    # they change. The CA is whom this service trusts when it calls the others, by TLS then.
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_ca_file: Path | None = None
    # Callers must show a certificate of that CA: for a server that only a front and services call.
    tls_require_client: bool = False
    # Listen without TLS on more than loopback: behind a front that ends TLS.
    allow_plaintext: bool = False
    # For how long another service's word about an API key is believed: the longest that a revoked
    # key still opens anything. While nobody answers, it holds for `key_hold_s`.
    key_cache_s: float = bounded(5.0, least=0.1, most=60)
    key_hold_s: float = bounded(60.0, least=0, most=3600)
    # Where the other services are, when they are not in this process.
    objects_address: str = ""
    scheduler_address: str = ""
    functions_address: str = ""
    mpi_address: str = ""

    @property
    def addresses(self) -> dict[str, str]:
        """Addresses by service, of those that are given."""
        every = {
            "objects": self.objects_address,
            "scheduler": self.scheduler_address,
            "functions": self.functions_address,
            "mpi": self.mpi_address,
        }
        return {service: address for service, address in every.items() if address}


def load_settings(
    service: str,
    kind: type[S],
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
) -> S:
    """The service's own settings. `overrides` (of the command line) win; None there means absent.

    SettingsError for an unknown key with the service's prefix, and for a value out of bounds.
    """
    prefix = f"{PREFIX}{service.upper()}_"
    # `GRIDLOOM_OBJECTS_ADDRESS` is no setting of objects, but of those who call it.
    names = (*_names(kind), *_names(ServerSettings), "address")
    _refuse_unknown(prefix, environment, names)
    return _loaded(kind, (prefix,), environment, overrides or {})


def load_server_settings(
    service: str, environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> ServerSettings:
    """The settings that all services share, as they hold for this one."""
    prefixes = (f"{PREFIX}{service.upper()}_", PREFIX)
    settings = _loaded(ServerSettings, prefixes, environment, overrides or {})
    return dataclasses.replace(settings, home=settings.home.expanduser().absolute())


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _refuse_unknown(prefix: str, environment: Mapping[str, str], names: Iterable[str]) -> None:
    known = [name.upper() for name in names]
    for key in environment:
        name = key.removeprefix(prefix)
        if key.startswith(prefix) and name not in known and key not in _OF_GANGS:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(known)}"
            raise SettingsError(f"unknown setting {key}; {hint}", field=key)


def _loaded(
    kind: type[S],
    prefixes: tuple[str, ...],
    environment: Mapping[str, str],
    overrides: Mapping[str, Any],
) -> S:
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        key = _given(field.name, prefixes, environment)
        if overrides.get(field.name) is not None:
            values[field.name] = overrides[field.name]
        elif key is not None:
            values[field.name] = _parsed(key, environment[key], hints[field.name])
        _check(key or field.name, values.get(field.name), field.metadata)
    return kind(**values)


def _given(name: str, prefixes: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    """The key under which the environment has this field; the service's own comes first."""
    keys = (prefix + name.upper() for prefix in prefixes)
    return next((key for key in keys if key in environment), None)


def _parsed(key: str, text: str, kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        if text == "":
            return None
        kind = next(member for member in typing.get_args(kind) if member is not types.NoneType)
    parse, expected = _PARSERS[typing.get_origin(kind) or kind]
    try:
        return parse(text)
    except (ValueError, KeyError):
        raise SettingsError(
            f'{key} is "{text}"; {expected} is expected', field=key, given=text, allowed=expected
        ) from None


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _truth(text: str) -> bool:
    return _WORDS_OF_TRUTH[text.lower()]


_PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "a text"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: (_truth, "true or false"),
    Path: (Path, "a path"),
    tuple: (_words, "a list with commas"),
}


def _check(key: str, value: Any, limits: Mapping[str, Any]) -> None:
    if value is None or not limits:
        return
    if limits["choices"] is not None and value not in limits["choices"]:
        allowed = ", ".join(limits["choices"])
        raise SettingsError(
            f'{key} is "{value}"; it can be {allowed}', field=key, given=value, allowed=allowed
        )
    if limits["least"] is not None and value < limits["least"]:
        raise SettingsError(f"{key} is {value}; the least is {limits['least']}", field=key)
    if limits["most"] is not None and value > limits["most"]:
        raise SettingsError(f"{key} is {value}; the most is {limits['most']}", field=key)
