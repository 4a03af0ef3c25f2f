"""What a service may answer instead of a result, sorted by whose fault it is.

Domain code raises these; it knows no gRPC. `statuses.py` makes gRPC statuses of them, the SDK makes
its exceptions of the statuses. A message is one sentence that names the field, what was given and
what is allowed: `queue "gpuu" does not exist; queues of project "chem": cpu, gpu`.
"""

from __future__ import annotations


class GridloomServiceError(Exception):
    """Above every error that a service raises on purpose.

    `details` (with `field`, `given` and `allowed` where there are such) travel to the client as
    text; None is left out.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        given: object = None,
        allowed: object = None,
        **details: object,
    ) -> None:
        super().__init__(message)
        self.message = message
        every = {"field": field, "given": given, "allowed": allowed, **details}
        self.details = {name: str(value) for name, value in every.items() if value is not None}


# ---- the request's fault


class InvalidRequestError(GridloomServiceError):
    """It cannot be done as it was put."""


class PayloadTooLargeError(InvalidRequestError):
    """More bytes than the limit allows."""


class NotFoundError(GridloomServiceError):
    """It does not exist, or not any more."""


class AlreadyExistsError(GridloomServiceError):
    """Something else has that name."""


class ConflictError(GridloomServiceError):
    """Its present state does not allow this: a job that has ended, a stale attempt."""


class IncompleteError(ConflictError):
    """Who was to send the rest went away; details `accepted` and `done` count what there is."""


class PoolBrokenError(ConflictError):
    """The pool's workers do not come, or its initialiser fails: it runs nothing any more."""


class VersionMismatchError(GridloomServiceError):
    """The two sides do not speak the same version."""


# ---- refused


class UnauthenticatedError(GridloomServiceError):
    """There is no valid token."""


class PermissionDeniedError(GridloomServiceError):
    """Who asks is known and may not; `role` names what is missing."""


class QuotaExceededError(GridloomServiceError):
    """More than the quota leaves; details `quota`, `used`, `asked`."""


# ---- the platform's fault


class UnavailableError(GridloomServiceError):
    """Not now. Trying again after `retry_after_s` makes sense."""

    def __init__(self, message: str, *, retry_after_s: float = 0.2, **details: object) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]
        self.retry_after_s = retry_after_s


class StorageFullError(GridloomServiceError):
    """The disk is full. Nothing of the request was accepted, nothing older was lost."""


class InternalError(GridloomServiceError):
    """A defect of ours. The log says more."""


# ---- for whoever started the process; they never reach a client


class StartError(GridloomServiceError):
    """The process cannot serve. The sentence says why and what to do."""


class BrokenError(StartError):
    """A part cannot go on, and the process with it: it may be started again."""


class SettingsError(StartError):
    """A setting is unknown or out of bounds."""


class PortInUseError(StartError):
    """Another process listens there."""


class FolderInUseError(StartError):
    """Another process works in the same folder."""


class StoreInUseError(StartError):
    """Another process works on the same database."""


class CorruptStoreError(StartError):
    """The database does not pass its integrity check."""


class NewerStoreError(StartError):
    """The database was written by a newer version."""
