"""What the objects service may be told: `GRIDLOOM_OBJECTS_...`."""

from __future__ import annotations

from gridloom.values import dataclass

from gridloom_services.common.settings import bounded

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class ObjectsSettings:
    """Where the rows and the bytes are, how large an object may be, and how long it stays."""

    # Empty: an SQLite file in the service's folder.
    database_url: str = ""
    # Empty: files in the service's folder. "file:///shared/volume", or any URL of fsspec
    # ("s3://bucket/prefix", whose keys and endpoint are those of AWS_... in the environment).
    store_url: str = ""
    max_object_bytes: int = bounded(64 * GIB, least=1)
    # Up to this size the content is in the table: one commit in place of a file.
    inline_bytes: int = bounded(16 << 10, least=0, most=1 << 20)
    # What nobody holds goes when it was not used for this long.
    retention_s: float = bounded(24 * 3600.0, least=0)
    sweep_every_s: float = bounded(600.0, least=0.01)
    # No put may leave less than this free: the platform's databases live on the same disk.
    reserve_bytes: int = bounded(256 << 20, least=0)
    # Where payloads may lie that need not be durable; empty: nowhere, they are objects too.
    memory_folder: str = "/dev/shm"  # noqa: S108  # a folder of our own in it
    # How much of that, and of the machine's memory, they may take together.
    memory_share: float = bounded(0.5, least=0, most=1)
