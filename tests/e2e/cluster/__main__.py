"""The tests' cluster by hand.

python -m tests.e2e.cluster prepare         make what a cluster and an installation start from
python -m tests.e2e.cluster up | down
python -m tests.e2e.cluster load IMAGE...
python -m tests.e2e.cluster shell
"""

from __future__ import annotations

import os
import sys

from tests.e2e.cluster import cluster
from tests.e2e.images.build import build
from tests.e2e.images.wheelhouse import demo_packages
from tests.e2e.machine.run import StepError, say


def main(arguments: list[str]) -> int:
    """What was asked; 1 with a sentence when it cannot be done. A failed `up` leaves nothing."""
    verb, *words = arguments or ["help"]
    try:
        if verb == "down":
            cluster.down()
        elif verb == "prepare":
            _prepare()
        elif verb == "up":
            _up()
        elif verb == "load":
            cluster.up().load(words)
        elif verb == "shell":
            _shell()
        else:
            say(str(__doc__))
            return 2
    except StepError as error:
        say(str(error))
        return 1
    return 0


def _prepare() -> None:
    """All images into docker, which goes on running until `down`."""
    cluster.prepare()
    build(worker_packages=demo_packages())


def _up() -> None:
    try:
        found = cluster.up()
    except BaseException:
        if not os.environ.get("KEEP"):
            cluster.down()
        raise
    say(f"export KUBECONFIG={found.kubeconfig}")


def _shell() -> None:
    """A shell in which kubectl, kind and docker work on the cluster."""
    found = cluster.up()
    programs = (cluster.kubectl_program().parent, cluster.kind_program().parent)
    path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    shell = os.environ.get("SHELL", "/bin/sh")
    os.execvpe(shell, [shell], {**os.environ, "PATH": path, "KUBECONFIG": str(found.kubeconfig)})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
