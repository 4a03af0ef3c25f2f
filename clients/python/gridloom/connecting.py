"""`gridloom.connect()`: finds the platform, or starts it while the rest of the SDK is imported."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

from gridloom.locate import FixedAddress, locate

if TYPE_CHECKING:
    import os

    from gridloom.client import Client
    from gridloom.endpoint import Endpoint
    from gridloom.locate import Place
    from gridloom.units import Duration

GREETING_PATIENCE_S = 10.0

_USED_BY_CALLS = (
    "gridloom.calls.client",
    "gridloom.api.functions.v1.functions_pb2_grpc",
    "gridloom.worker.bundle",
    "cloudpickle",
)


class _Search(Thread):
    """Looks for the platform (and starts it) beside whatever its maker does meanwhile."""

    def __init__(self, place: Place) -> None:
        super().__init__(name="gridloom-search", daemon=True)
        self._place = place
        self._found: Endpoint | None = None
        self._trouble: Exception | None = None
        self.start()

    def run(self) -> None:
        """Search once."""
        try:
            self._found = self._place.locator.find(may_start=True)
        except Exception as trouble:  # noqa: BLE001  # raised where the answer is asked for
            self._trouble = trouble

    def result(self) -> Endpoint:
        """What was found, or the error that there was instead."""
        self.join()
        if self._trouble is not None:
            raise self._trouble
        assert self._found is not None
        return self._found


def connect(
    address: str | None = None,
    *,
    api_key: str | None = None,
    context: str | None = None,
    home: str | os.PathLike[str] | None = None,
    project: str | None = None,
    queue: str | None = None,
    timeout: Duration | None = None,
) -> Client:
    """A client of the platform meant: the address's, the context's, else the embedded one's.

    The embedded platform is started when it does not run. Inside a job, it is the platform that
    runs the job. One at an address is asked at once whether it is there and knows the key.
    `project` and `queue` are this client's defaults; `timeout` is how long a request
    is tried when nobody answers, before an `UnavailableError` (a minute).
    """
    place = locate(address, api_key=api_key, context=context, home=home)
    place = replace(place, project=project or place.project, queue=queue or place.queue)
    search = _Search(place)
    from gridloom import client, units
    from gridloom.channel import DEFAULT_PATIENCE_S

    _import_meanwhile(search)

    patience_s = DEFAULT_PATIENCE_S if timeout is None else units.seconds(timeout, field="timeout")
    found = client.opened(place, search.result(), patience_s)
    if isinstance(place.locator, FixedAddress):
        _greet(found, min(patience_s, GREETING_PATIENCE_S))
    return found


def _import_meanwhile(search: _Search) -> None:
    """A platform that must be started takes longer than to import what calls need: do it now.

    One that runs has been found before this begins; then, what is never used is never imported.
    """
    for name in _USED_BY_CALLS:
        if not search.is_alive():
            return
        import_module(name)


def _greet(client: Client, patience_s: float) -> None:
    """Ask something small: a wrong address or key is told now, and not after the first job."""
    from gridloom.api.scheduler.v1 import scheduler_pb2
    from gridloom.operation import Call

    request = scheduler_pb2.ListQueuesRequest(project=client.defaults.project)
    try:
        client.connection.call(Call("scheduler", "ListQueues", request, timeout_s=patience_s))
    except BaseException:
        client.close()
        raise
