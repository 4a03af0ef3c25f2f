"""`python -m tests.e2e.images`: build all images.

From the environment: BASE (any Debian), PYTHONS (minor versions of the worker images, "3.11 3.13"),
WORKER_PACKAGES (what worker images have besides, "numpy scikit-learn").
"""

from __future__ import annotations

import os
import sys

from tests.e2e.images.build import build
from tests.e2e.machine.run import StepError, say


def main() -> int:
    """Build; 1 with a sentence where that cannot be done."""
    pythons = os.environ.get("PYTHONS", "").split()
    packages = os.environ.get("WORKER_PACKAGES", "").split()
    try:
        build(pythons, packages)
    except StepError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
