"""What goes wrong in a cluster: each has a failure class of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from gridloom import errors

if TYPE_CHECKING:
    from gridloom.client import Client

_EAT = "import time; x = bytearray(300 << 20); time.sleep(60)"


@pytest.mark.parametrize(
    ("command", "options", "kind"),
    [
        (["sh", "-c", "exit 3"], {}, errors.JobFailedError),
        (["python3", "-c", _EAT], {"memory": "128MiB"}, errors.OutOfMemoryError),
        (["sleep", "600"], {"time_limit": 3}, errors.TimeLimitError),
    ],
)
def test_each_failure_has_a_class_of_its_own(
    client: Client, command: list[str], options: dict[str, Any], kind: type[errors.JobError]
):
    job = client.run(command, cpus=0.1, retries=0, **options)
    with pytest.raises(kind):
        job.result(timeout="3m")
