"""What a worker is given by its host: values, and the memory that both see."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gridloom.api.functions.v1 import pool_pb2, worker_pb2
from gridloom.version import PROTOCOL

if TYPE_CHECKING:
    from gridloom.channel import Locator
    from gridloom.endpoint import Endpoint
    from gridloom.worker.output import CaptureFile
    from gridloom.worker.progress import Alarm, Board

DEFAULT_SLOTS = {
    pool_pb2.CONCURRENCY_THREADS: 32,
    pool_pb2.CONCURRENCY_ASYNCIO: 256,
}
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class PoolSettings(NamedTuple):
    """What all workers of a pool share.

    `memory_bytes` is a worker's limit, 0: none. `folder` is theirs to write in.
    """

    pool_id: str
    token: str
    socket_path: str
    address: str
    folder: Path
    concurrency: int = pool_pb2.CONCURRENCY_PROCESSES
    slots: int = 1
    memory_bytes: int = 0
    initializer: bytes = b""
    bundle: str = ""
    functions_address: str = ""
    ca_file: str = ""
    home: str = ""

    def endpoint(self, address: str = "") -> Endpoint:
        """The platform, or a service that has an address of its own."""
        from gridloom.locate import endpoint_of

        return endpoint_of(address or self.address, token=self.token, ca_file=self.ca_file)

    def platform(self) -> Locator:
        """The platform, wherever it is by now."""
        from gridloom.home import EmbeddedPlatform
        from gridloom.locate import FixedAddress, GangPlatform

        if not self.home:
            return FixedAddress(self.endpoint())
        return GangPlatform(self.endpoint(), EmbeddedPlatform(Path(self.home)))


class Seat(NamedTuple):
    """One worker's name and what it shares with its host."""

    worker_id: str
    host_id: str
    pool: PoolSettings
    board: Board
    alarm: Alarm
    # An eventfd that wakes the host, and a pipe that it reads why the worker cannot work.
    bell: int
    complaints: int
    captures: tuple[CaptureFile, CaptureFile] | None = None

    def hello(self) -> worker_pb2.WorkerFrame:
        """The first frame."""
        return worker_pb2.WorkerFrame(
            hello=worker_pb2.WorkerHello(
                protocol=PROTOCOL,
                token=self.pool.token,
                pool_id=self.pool.pool_id,
                kind=worker_pb2.WorkerHello.KIND_WORKER,
                worker_id=self.worker_id,
                host_id=self.host_id,
                pid=os.getpid(),
                slots=self.pool.slots,
                python=PYTHON_VERSION,
            )
        )

    def wake_host_by(self, moment_ns: int) -> None:
        """See to it that the host looks at the board at this time, or earlier."""
        if self.alarm.wakes_at_ns > moment_ns:
            os.eventfd_write(self.bell, 1)

    def ring(self) -> None:
        """Have the host look at the board now."""
        os.eventfd_write(self.bell, 1)
