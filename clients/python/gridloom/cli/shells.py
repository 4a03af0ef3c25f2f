"""Completion for a shell that is named: `gridloom --show-completion zsh`.

Without a name, Typer takes the shell that it was started from, which a script or a Makefile is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom.cli import exits
from gridloom.cli.screen import complain
from gridloom.errors import InvalidRequestError
from gridloom.options import check_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
_SHOW, _INSTALL = "--show-completion", "--install-completion"
_PROGRAM = "gridloom"


def named_completion(words: Sequence[str]) -> int | None:
    """Show or install completion where the words ask for that of a named shell; the exit code.

    None where they ask for anything else.
    """
    given = " ".join(words).replace("=", " ").split(" ")
    if len(given) != len((_SHOW, "SHELL")) or given[0] not in {_SHOW, _INSTALL}:
        return None
    option, shell = given
    try:
        check_choice(option, shell, SHELLS)
    except InvalidRequestError as error:
        complain(f"gridloom: {error}")
        return exits.USAGE
    if option == _SHOW:
        print(completion_script(shell))
    else:
        _install(shell)
    return exits.DONE


def completion_script(shell: str) -> str:
    """What the shell is to read."""
    from typer._completion_shared import get_completion_script

    variable = f"_{_PROGRAM.upper()}_COMPLETE"
    return str(get_completion_script(prog_name=_PROGRAM, complete_var=variable, shell=shell))


def _install(shell: str) -> None:
    from typer._completion_shared import install

    _, path = install(shell=shell, prog_name=_PROGRAM)
    complain(f"completion for {shell} is in {path}; a new terminal has it")
