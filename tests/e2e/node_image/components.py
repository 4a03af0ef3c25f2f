"""The images that kubeadm starts, made of the programs and named as kubeadm lists them."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.machine.run import pipe, run
from tests.e2e.node_image.go_programs import built, kubernetes_version

if TYPE_CHECKING:
    from collections.abc import Sequence

BUSYBOX = "gridloom-test/busybox:1"
_FILES = Path(__file__).parent / "files"
_PATH = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_PLUG_INS = "usr/lib/x86_64-linux-gnu/xtables"
_IPTABLES = ("iptables", "iptables-save", "iptables-restore")


@dataclass
class Components:
    """Images in the making: folders below `work`, programs and libraries from `root`."""

    root: Path
    work: Path
    names: dict[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def make(self) -> Path:
        """All images in one archive, as `docker save` writes it."""
        self.names = listed_images()
        for component in _CONTROL_PLANE:
            self._one_program(component, built("kubernetes").path(component))
        self._one_program("etcd", built("etcd").path("etcd"))
        self._coredns()
        self._pause()
        self._kube_proxy()
        self._busybox()
        archive = self.work / "images.tar"
        run(["docker", "save", "--output", archive, *self.made])
        return archive

    def _one_program(self, name: str, program: Path) -> None:
        folder = self._folder(name, "tmp")
        _copy(program, folder / "usr/local/bin" / name)
        self._import(self.names[name], folder, _PATH, f'ENTRYPOINT ["{name}"]')

    def _coredns(self) -> None:
        folder = self._folder("coredns")
        _copy(built("coredns").path("coredns"), folder / "coredns")
        certificates = "etc/ssl/certs/ca-certificates.crt"
        _copy(self.root / certificates, folder / certificates)
        self._import(self.names["coredns"], folder, _PATH, 'ENTRYPOINT ["/coredns"]')

    def _pause(self) -> None:
        folder = self._folder("pause")
        run(["gcc", "-Os", "-static", "-s", "-o", folder / "pause", _FILES / "pause.c"])
        self._import(self.names["pause"], folder, 'ENTRYPOINT ["/pause"]')

    def _kube_proxy(self) -> None:
        """Not a one-program image: kube-proxy runs `nft` or `iptables`, by its mode."""
        folder = self._folder("kube-proxy", "tmp", "run")
        _copy(built("kubernetes").path("kube-proxy"), folder / "usr/local/bin/kube-proxy")
        self._with_libraries(folder, "/usr/sbin/nft", "/usr/sbin/xtables-nft-multi")
        shutil.copytree(self.root / _PLUG_INS, folder / _PLUG_INS)
        for name in _IPTABLES:
            for program in (name, name.replace("iptables", "ip6tables")):
                (folder / "usr/sbin" / program).symlink_to("xtables-nft-multi")
        self._import(self.names["kube-proxy"], folder, _PATH, 'ENTRYPOINT ["kube-proxy"]')

    def _busybox(self) -> None:
        """A small shell: for the pod network's script, and for tests.

        Debian's busybox crashes in `wget -T`: say `timeout 5 wget`.
        """
        folder = self._folder("busybox", "tmp", "etc", "usr/bin", "usr/sbin")
        self._with_libraries(folder, "/bin/busybox")
        for applet in run([self.root / "bin/busybox", "--list"]).split():
            if applet != "busybox":
                (folder / "bin" / applet).symlink_to("busybox")
        (folder / "usr/bin/env").symlink_to("/bin/busybox")
        (folder / "usr/sbin/chroot").symlink_to("/bin/busybox")
        self._import(BUSYBOX, folder, _PATH, 'CMD ["sh"]')

    def _with_libraries(self, folder: Path, *programs: str) -> None:
        for program in programs:
            words = run(["chroot", self.root, "ldd", program])
            for file in (program, *re.findall(r"/[^ ]+", words)):
                _copy(self.root / file.lstrip("/"), folder / file.lstrip("/"))

    def _folder(self, name: str, *parts: str) -> Path:
        folder = self.work / name
        folder.mkdir(parents=True)
        for part in parts:
            (folder / part).mkdir(parents=True)
        return folder

    def _import(self, name: str, folder: Path, *changes: str) -> None:
        import_folder(folder, name, changes)
        self.made.append(name)


def listed_images() -> dict[str, str]:
    """Full image names by component, as this Kubernetes' kubeadm lists them."""
    kubeadm = built("kubernetes").path("kubeadm")
    version = kubernetes_version()
    lines = run([kubeadm, "config", "images", "list", "--kubernetes-version", version]).split()
    return {line.rpartition("/")[2].partition(":")[0]: line for line in lines}


def import_folder(folder: Path, name: str, changes: Sequence[str] = ()) -> None:
    """Make a one-layer image of a folder, owned by root throughout."""
    options = [word for change in changes for word in ("--change", change)]
    pipe(
        ["tar", "-C", folder, "--numeric-owner", "--owner=0", "--group=0", "-c", "."],
        ["docker", "import", *options, "-", name],
    )


def _copy(source: Path, target: Path) -> None:
    """A copy of the file itself, where `source` may be a link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
