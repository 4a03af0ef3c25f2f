"""`dataclass` of the SDK, for those parts of a service that know nothing of the SDK otherwise."""

from gridloom.values import dataclass

__all__ = ["dataclass"]
