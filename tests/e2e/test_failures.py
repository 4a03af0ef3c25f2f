"""What goes wrong in a cluster: each has a failure class of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from gridloom import Retries, errors

if TYPE_CHECKING:
    from gridloom.client import Client

_EAT = "import time; x = bytearray(300 << 20); time.sleep(60)"
_FILL = "dd if=/dev/zero of=large bs=1M count=64 2>/dev/null; sleep 600"
_LITTLE_DISK = {"resources": {"ephemeral-storage": 16 << 20}, "retries": Retries(evicted=0)}


@pytest.mark.parametrize(
    ("command", "options", "kind"),
    [
        (["sh", "-c", "exit 3"], {}, errors.JobFailedError),
        (["python3", "-c", _EAT], {"memory": "128MiB"}, errors.OutOfMemoryError),
        (["sleep", "600"], {"time_limit": 3}, errors.TimeLimitError),
        (["true"], {"image": "gridloom/nobody-made-this:1"}, errors.ImageNotFoundError),
        (["sh", "-c", _FILL], _LITTLE_DISK, errors.EvictedError),
    ],
)
def test_each_failure_has_a_class_of_its_own(
    client: Client, command: list[str], options: dict[str, Any], kind: type[errors.JobError]
):
    job = client.run(command, cpus=0.1, **options)
    with pytest.raises(kind):
        job.result(timeout="3m")
