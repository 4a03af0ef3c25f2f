"""What all verbs share: where the platform is, how to answer, and what errors come to.

    @verb
    def show(here: Here, job: JobArgument) -> None: ...

makes a function for Typer that takes the verb's own options and the common ones, and gives the verb
a `Here`. A verb with very many options has them in a table: `@verb_with(OPTIONS)`.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeAlias, get_type_hints

import typer

from gridloom.cli.exits import DONE, INTERRUPTED, exit_code_of
from gridloom.cli.screen import Screen, complain
from gridloom.errors import GridloomError, GridloomWarning
from gridloom.interrupt import as_interrupt

if TYPE_CHECKING:
    from gridloom.client import Client
    from gridloom.home import EmbeddedPlatform
    from gridloom.locate import Place

P = ParamSpec("P")

Options: TypeAlias = Mapping[str, tuple[Any, Any]]
"""Annotation and default of each option, by the name of its parameter."""

# How long an answer is waited for at the keyboard.
PATIENCE_S = 15.0

COMMON: Options = {
    "as_json": (Annotated[bool, typer.Option("--json", help="Answer in JSON.")], False),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="Print ids only.")], False),
    "context": (Annotated[str, typer.Option(hidden=True)], ""),
    "address": (Annotated[str, typer.Option(hidden=True)], ""),
    "home": (Annotated[str, typer.Option(hidden=True)], ""),
    "project": (Annotated[str, typer.Option(hidden=True)], ""),
}


class Here:
    """One run of a verb: the platform that is meant and the screen to answer on."""

    def __init__(self, *, as_json: bool, quiet: bool, **place: str) -> None:
        self.screen = Screen(as_json=as_json, quiet=quiet)
        self._said = place
        self._client: Client | None = None

    @property
    def place(self) -> Place:
        """The platform that is meant."""
        from dataclasses import replace

        from gridloom.locate import locate

        said = {word: self._said[word] or None for word in ("address", "context", "home")}
        place = locate(said["address"], context=said["context"], home=said["home"])
        return replace(place, project=self._said["project"] or place.project)

    @property
    def embedded(self) -> EmbeddedPlatform | None:
        """The embedded platform, if that is the one meant."""
        from gridloom.home import EmbeddedPlatform

        locator = self.place.locator
        return locator if isinstance(locator, EmbeddedPlatform) else None

    @property
    def client(self) -> Client:
        """A client of it; an embedded platform that does not run is started."""
        if self._client is None:
            from gridloom.client import Client

            client = Client(self.place, patience_s=PATIENCE_S)
            platform = self.embedded
            if platform is not None and platform.running() is None:
                with self.screen.busy(f"starting the platform on {platform.home}"):
                    client.connection.endpoint()
            self._client = client
        return self._client

    def close(self) -> None:
        """Leave the platform; `client` enters it again."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def verb(function: Callable[Concatenate[Here, P], None]) -> Callable[..., None]:
    """A verb as Typer wants it. Errors of Gridloom's end as one sentence and an exit code."""
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    own = {each.name: (hints[each.name], each.default) for each in parameters}
    return _typer_function(function, own)


def verb_with(options: Options) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A verb that gets its options as keywords, from a table."""
    return lambda function: _typer_function(function, options)


def _typer_function(function: Callable[..., None], own: Options) -> Callable[..., None]:
    @functools.wraps(function)
    def run(ctx: typer.Context, **given: Any) -> None:
        # Said after the verb, else before it.
        common = {name: given.pop(name) or (ctx.obj or {}).get(name, "") for name in COMMON}
        here = Here(**common)
        try:
            _checked(function, here, given)
        finally:
            here.close()

    options = {**own, **COMMON}
    run.__annotations__ = {"ctx": typer.Context} | {n: kind for n, (kind, _) in options.items()}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_parameter("ctx", typer.Context, inspect.Parameter.empty)]
        + [_parameter(name, kind, default) for name, (kind, default) in options.items()]
    )
    del run.__wrapped__
    return run


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=default, annotation=annotation)


def _warn(message: Warning | str, *_: object) -> None:
    complain(f"gridloom: warning: {message}")


def _checked(function: Callable[..., None], here: Here, given: dict[str, Any]) -> None:
    """Run the verb; what goes wrong ends as a sentence and an exit code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", GridloomWarning)
            warnings.showwarning = _warn  # type: ignore[assignment]
            with as_interrupt():
                function(here, **given)
        sys.stdout.flush()  # a reader that is gone is to be heard of here
    except GridloomError as error:
        complain(f"gridloom: {error}")
        raise typer.Exit(exit_code_of(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not complain when it ends, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(DONE) from None
