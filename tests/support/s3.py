"""An S3 of the tests' own: moto's server, in this process."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEYS = {
    "AWS_ACCESS_KEY_ID": "gridloom",
    "AWS_SECRET_ACCESS_KEY": "gridloom",
    "AWS_DEFAULT_REGION": "us-east-1",
    # Nobody asks an instance of a cloud for keys.
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def s3_server(port: int = 0) -> Iterator[dict[str, str]]:
    """The environment by which its clients find it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        host, given = server.get_host_and_port()
        yield {**_KEYS, "AWS_ENDPOINT_URL": f"http://{host}:{given}"}
    finally:
        server.stop()


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Have these in this process's environment."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
