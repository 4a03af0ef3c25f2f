"""A real API server of Kubernetes with its etcd and no nodes, on this machine's loopback alone.

Its programs are those that `make e2e` builds. It ends with the process that started it, however
that ends. Nothing in it starts pods, counts quotas or collects garbage: a test does what it needs.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trustme
import yaml

from tests.e2e.node_image.go_programs import place_of
from tests.support.front import free_port
from tests.support.postgresql import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE_S = 90.0
_ADMIN = "admin"
# Who is in this group may do everything.
_MASTERS = "system:masters"


def programs() -> tuple[Path, Path] | None:
    """The folders of etcd and of Kubernetes' programs; None where they were not built."""
    etcd, kubernetes = place_of("etcd"), place_of("kubernetes")
    return (etcd, kubernetes) if etcd.is_dir() and kubernetes.is_dir() else None


class ApiServer:
    """Runs from its making until `stop`. `users`: names that may come in, without any right."""

    def __init__(self, etcd: Path, kubernetes: Path, users: Sequence[str]) -> None:
        self._kubernetes = kubernetes
        self._folder = Path(tempfile.mkdtemp(prefix="gridloom-api-"))
        self._port = free_port()
        self._tokens = {name: secrets.token_hex(16) for name in (_ADMIN, *users)}
        self._running: list[subprocess.Popen[bytes]] = []
        try:
            self._write_files()
            self._etcd_url = self._start_etcd(etcd / "etcd")
            self._server = self._started()
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def kubeconfig(self, user: str) -> Path:
        """A file with which `user` comes in."""
        path = self._folder / f"{user}.json"
        cluster = {
            "server": f"https://127.0.0.1:{self._port}",
            "certificate-authority": str(self._folder / "ca.crt"),
        }
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": user}}],
            "current-context": "tests",
        }
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    def kubectl(self, *words: str, text: str | None = None) -> str:
        """Run kubectl as somebody who may do everything; what it printed."""
        command = [self._kubernetes / "kubectl", "--kubeconfig", self.kubeconfig(_ADMIN), *words]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Make or change objects, their status aside."""
        items = {"apiVersion": "v1", "kind": "List", "items": manifests}
        self.kubectl("apply", "-f", "-", text=json.dumps(items))

    def set_status(self, kind: str, name: str, status: dict[str, Any], *words: str) -> None:
        """Write an object's status, as the controllers that are not here would."""
        change = json.dumps({"status": status})
        merge = ("--subresource=status", "--type=merge", "-p", change)
        self.kubectl("patch", kind, name, *merge, *words)

    def kill(self) -> None:
        """End the API server as a crash does; etcd goes on."""
        self._server.kill()
        self._server.wait()
        self._running.remove(self._server)

    def start_again(self) -> None:
        """At the same address, with all that it had; it takes its time."""
        self._server = self._started()

    def wait_until_ready(self) -> None:
        """Return when it answers and has what it needs. RuntimeError with its last words."""
        deadline = time.monotonic() + _PATIENCE_S
        command = [self._kubernetes / "kubectl", "--kubeconfig", self.kubeconfig(_ADMIN)]
        while subprocess.run(
            [*command, "get", "--raw=/readyz"], capture_output=True, check=False
        ).returncode:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text(encoding="utf-8")[-4000:])
            time.sleep(0.2)

    def stop(self) -> None:
        """End everything and remove its folder."""
        for process in reversed(self._running):
            process.kill()
            process.wait()
        shutil.rmtree(self._folder)

    # ---- starting

    def _write_files(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self._folder / "ca.crt")
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(self._folder / "tls.pem")
        lines = (
            f'{token},{user},{user},"{_MASTERS if user == _ADMIN else "users"}"\n'
            for user, token in self._tokens.items()
        )
        (self._folder / "tokens.csv").write_text("".join(lines), encoding="utf-8")

    def _start_etcd(self, program: Path) -> str:
        url, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        words = ["--data-dir", self._folder / "etcd", "--unsafe-no-fsync", "--log-level", "error"]
        words += ["--listen-client-urls", url, "--advertise-client-urls", url]
        words += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
        self._run([program, *words, "--initial-cluster", f"default={peers}"])
        return url

    def _started(self) -> subprocess.Popen[bytes]:
        folder = self._folder
        certificate = folder / "tls.pem"
        options = {
            "etcd-servers": self._etcd_url,
            "bind-address": "127.0.0.1",
            "secure-port": self._port,
            "cert-dir": folder / "certs",
            "tls-cert-file": certificate,
            "tls-private-key-file": certificate,
            "service-account-issuer": "https://tests",
            "service-account-key-file": certificate,
            "service-account-signing-key-file": certificate,
            "token-auth-file": folder / "tokens.csv",
            "authorization-mode": "RBAC",
            # Nobody is here to make a namespace's account.
            "disable-admission-plugins": "ServiceAccount",
            "service-cluster-ip-range": "10.0.0.0/24",
        }
        program = self._kubernetes / "kube-apiserver"
        return self._run([program, *(f"--{key}={value}" for key, value in options.items())])

    def _run(self, command: Sequence[object]) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,  # noqa: PLW1509  # one call into libc, no locks
            )
        self._running.append(process)
        return process
