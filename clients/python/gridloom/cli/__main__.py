"""`gridloom`, and `python -m gridloom.cli`."""

from __future__ import annotations

import os
import sys

# Ours to decide: this is our own process. Must be said before grpc is imported.
_GRPC_EXPERIMENTS = "-event_engine_client,-event_engine_listener"


def main() -> None:
    """Run the command line and exit with its code."""
    os.environ.setdefault("GRPC_EXPERIMENTS", _GRPC_EXPERIMENTS)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """The exit code of a command line."""
    import typer

    from gridloom.cli import exits
    from gridloom.cli.app import build
    from gridloom.cli.shells import named_completion

    completion = named_completion(words)
    if completion is not None:
        return completion
    word = verb_word(words)
    command = typer.main.get_command(build(word))
    try:
        code = command.main(words, prog_name="gridloom", standalone_mode=False)
    except typer.Abort:
        return exits.INTERRUPTED
    except Exception as error:
        # Wrong usage: Typer's own error, which knows how to show itself.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return exits.RUN_FAILED if word == "run" else int(getattr(error, "exit_code", exits.USAGE))
    return code if isinstance(code, int) else exits.DONE


def verb_word(words: list[str]) -> str | None:
    """The first word that is neither an option nor an option's value."""
    takes_value = {"--context", "--address", "--home", "--project"}
    rest = iter(words)
    for word in rest:
        if word in takes_value:
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return None


if __name__ == "__main__":
    main()
