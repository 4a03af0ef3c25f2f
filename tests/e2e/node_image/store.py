"""The node's image store, filled from outside by the same containerd that will open it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from typing import TYPE_CHECKING

from tests.e2e.machine.run import StepError, run, succeeds
from tests.e2e.node_image.components import BUSYBOX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONFIGURATION = """\
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
root = "{root}"
state = "{state}"
[grpc]
address = "{socket}"
"""
_START_PATIENCE_S = 30.0
_LARGE = re.compile(r"\s[\d.]+\s?(MiB|MB|GiB|GB)\s")


def fill(root: Path, archive: Path, work: Path) -> None:
    """Put the images of `archive` into `root`, unpacked and without their tar blobs.

    The blobs would only double the node image: nothing pushes these images anywhere.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _containerd(root, work / "containerd") as ctr:
        run([*ctr, "images", "import", "--digests=false", archive])
        blobs = run([*ctr, "content", "ls"]).splitlines()
        large = [line.split()[0] for line in blobs if _LARGE.search(line)]
        run([*ctr, "content", "rm", *large])
        _collect_garbage(ctr)


def _collect_garbage(ctr: list[str]) -> None:
    """Blobs go at the next collection; removing an image with --sync is one."""
    for name in (BUSYBOX, f"docker.io/{BUSYBOX}"):
        if succeeds([*ctr, "images", "tag", name, "gridloom-test/gone:1"]):
            run([*ctr, "images", "rm", "--sync", "gridloom-test/gone:1"])
            return
    raise StepError("the image store has no busybox")


@contextlib.contextmanager
def _containerd(root: Path, state: Path) -> Iterator[list[str]]:
    """A containerd with its store in `root`; yields the words to command it by."""
    state.mkdir(parents=True)
    socket = state / "c.sock"
    configuration = state / "config.toml"
    configuration.write_text(_CONFIGURATION.format(root=root, state=state / "state", socket=socket))
    with (state / "log").open("wb") as log:
        process = subprocess.Popen(["containerd", "-c", str(configuration)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_PATIENCE_S
        while not succeeds(["ctr", "-a", socket, "version"]):
            if time.monotonic() > deadline or process.poll() is not None:
                raise StepError(f"containerd: {(state / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield ["ctr", "-a", str(socket), "-n", "k8s.io"]
    finally:
        process.terminate()
        process.wait()
