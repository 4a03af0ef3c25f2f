"""The services apart, as a cluster runs them: a process each with a home of its own, one database,
one address in front, workers that come by gRPC streams."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Self

from tests.support.front import Front, free_port, program
from tests.support.gateway import Gateway
from tests.support.service import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SERVICES = ("objects", "scheduler", "functions", "mpi")


class Apart:
    """All of them and their front, from entering to the end.

    `restart` ends a service as a rollout does, and starts it again at the same address.
    """

    def __init__(self, folder: Path, database_url: str, **settings: object) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in SERVICES}
        self.running: dict[str, ServiceProcess] = {}
        self._secret = secrets.token_bytes(32)
        self._settings = {
            "database_url": database_url,
            "scheduler_cpus": 4,
            "functions_worker_transport": "stream",
            "functions_worker_address": f"http://{self.addresses['functions']}",
            "objects_store_url": f"file://{folder / 'shared'}",
            "start_patience_s": 30,
            **settings,
        }
        self._stack = contextlib.ExitStack()
        self.address = ""

    def home(self, name: str) -> Path:
        """A service's own; what all share is there when it starts."""
        home = self.folder / name
        if not home.exists():
            home.mkdir(mode=0o700, parents=True)
            for file, content in (("token", self.token.encode()), ("secret", self._secret)):
                (home / file).write_bytes(content)
                (home / file).chmod(0o600)
        return home

    def process(self, name: str, *words: str) -> ServiceProcess:
        """A service that is starting."""
        return ServiceProcess(name, self.home(name), *words, **self.settings(name))

    def settings(self, name: str) -> Mapping[str, object]:
        """What a service is told."""
        others = {f"{other}_address": self.addresses[other] for other in SERVICES if other != name}
        port = self.addresses[name].rpartition(":")[2]
        return {**self._settings, **others, "port": port, "public_address": self.address}

    def start(self, name: str) -> ServiceProcess:
        """Start it, and wait until it answers."""
        if name in self.running:
            self.running[name].__exit__()
        self.running[name] = self.process(name).until("ready")
        return self.running[name]

    def end(self, name: str) -> None:
        """SIGTERM, and wait."""
        service = self.running[name]
        service.__exit__()
        assert service.wait() == 0, "\n".join(service.log())

    def restart(self, name: str) -> None:
        """As a rollout does it where there may be only one."""
        self.end(name)
        self.start(name)

    def __enter__(self) -> Self:
        self._stack.enter_context(self._front())
        self._stack.callback(self._close)
        try:
            for name in SERVICES:
                self.start(name)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _front(self) -> Front | Gateway:
        if nginx := program():
            folder = self.folder / "front"
            folder.mkdir(parents=True)
            front = Front(nginx, self.addresses, folder)
            self.address = f"http://{front.address}"
            return front
        gateway = _FixedGateway(self.addresses)
        self.address = f"http://{gateway.address}"
        return gateway

    def _close(self) -> None:
        for service in reversed(self.running.values()):
            service.__exit__()


class _FixedGateway(Gateway):
    """Where nginx cannot be had."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        super().__init__(free_port())
        for name, address in addresses.items():
            self.route(name, address)
