"""`python -m tests.e2e.node_image [--programs]`: make the node image, or only its Go programs."""

from __future__ import annotations

import sys

from tests.e2e.machine.run import StepError, say
from tests.e2e.node_image import image


def main(arguments: list[str]) -> int:
    """Make it into the cache; docker has it too when this returns."""
    try:
        if arguments == ["--programs"]:
            image.build_programs()
            return 0
        image.build_programs()
        image.own_docker()
        say(f"node image {image.provide()}")
    except StepError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
