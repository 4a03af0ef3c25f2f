"""The node image: Debian, systemd, containerd, Kubernetes' programs, and the images they start.

One imported layer: no image is pulled, and nothing here needs a way to an image registry.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.e2e.machine import docker
from tests.e2e.machine.debian import root_folder
from tests.e2e.machine.places import cache, key_of, key_of_files, run_folder
from tests.e2e.machine.run import pipe, run, step, succeeds
from tests.e2e.node_image import store
from tests.e2e.node_image.components import Components, listed_images
from tests.e2e.node_image.go_programs import (
    OF_CLUSTERS,
    OF_TESTS,
    built,
    kubernetes_version,
    place_of,
)

_HERE = Path(__file__).parent
_FILES = _HERE / "files"
# bookworm, because later systemds dropped cgroup v1.
_SUITE = "bookworm"
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "containerd", "runc", "containernetworking-plugins"),
    *("iptables", "nftables", "iproute2", "ethtool", "socat", "conntrack", "kmod", "mount"),
    *("procps", "ca-certificates", "busybox", "curl"),
)
# What of systemd a node in a container has no use for, or may not do.
_MASKED = (
    *("getty.target", "systemd-logind.service", "systemd-udevd.service", "remote-fs.target"),
    *("systemd-modules-load.service", "systemd-binfmt.service", "systemd-random-seed.service"),
    *("systemd-firstboot.service", "systemd-update-utmp.service", "dev-hugepages.mount"),
    *("systemd-update-utmp-runlevel.service", "systemd-journald-audit.socket"),
    *(
        "proc-sys-fs-binfmt_misc.automount",
        "sys-kernel-debug.mount",
        "sys-fs-fuse-connections.mount",
    ),
    *("sys-kernel-tracing.mount", "sys-kernel-config.mount", "systemd-tmpfiles-clean.timer"),
)
_JOURNAL = "[Journal]\nReadKMsg=no\nStorage=volatile\nRuntimeMaxUse=64M\n"
_CHANGES = (
    *("--change", "ENV container=docker"),
    *("--change", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    *("--change", 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'),
)


def name() -> str:
    """The image's name, with a tag for all that it is made from."""
    return f"gridloom-test/node:{kubernetes_version()}-{_key()}"


def build_programs() -> None:
    """Build the tests' Go programs into the cache: the long part, without docker and root."""
    for module in OF_TESTS:
        built(module)


def provide() -> str:
    """Have the image in docker: as it is, from the cache, or made; its name."""
    build_programs()
    saved = cache() / f"node-image-{_key()}.tar.zst"
    if succeeds(["docker", "image", "inspect", name()]):
        return name()
    if saved.exists():
        with step("load the node image"):
            pipe(["zstd", "-dc", saved], ["docker", "load"])
        return name()
    with step("make the node image"):
        _make()
    with step("save the node image"):
        part = saved.with_suffix(".part")
        pipe(["docker", "save", name()], ["zstd", "-q", "-f", "-T0", "-o", part])
        part.rename(saved)
    return name()


def _key() -> str:
    files = [*_FILES.iterdir(), *_HERE.glob("*.py")]
    programs = [place_of(module).name for module in OF_CLUSTERS]
    return key_of(_SUITE, *_PACKAGES, *programs, key_of_files(files))


def _make() -> None:
    root = root_folder(_SUITE, _PACKAGES)
    run_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=run_folder(), prefix="node-") as folder:
        work = Path(folder)
        archive = Components(root, work / "components").make()
        node = work / "node"
        run(["cp", "-a", "--reflink=auto", root, node])
        _configure(node)
        store.fill(node / "var/lib/containerd", archive, work)
        pipe(
            ["tar", "-C", node, "--numeric-owner", "-c", "."],
            ["docker", "import", *_CHANGES, "-", name()],
        )


def _configure(node: Path) -> None:
    kubernetes = built("kubernetes")
    for program in ("kubelet", "kubeadm", "kubectl"):
        _install(kubernetes.path(program), node / "usr/bin" / program, 0o755)
    _install(built("crictl").path("crictl"), node / "usr/bin/crictl", 0o755)
    _install(_FILES / "entrypoint", node / "usr/local/bin/entrypoint", 0o755)
    for manifest in ("default-cni.yaml", "default-storage.yaml"):
        _install(_FILES / manifest, node / "kind/manifests" / manifest)
    _install(_FILES / "kubelet.conf", node / "kind/kubelet.conf.d/10-node.conf")
    for unit in ("containerd.service", "kubelet.service"):
        _install(_FILES / unit, node / "etc/systemd/system" / unit)
    # kind reads exactly one line.
    _write(node / "kind/version", kubernetes_version())
    settings = (_FILES / "containerd.toml").read_text()
    _write(
        node / "etc/containerd/config.toml", settings.replace("@PAUSE@", listed_images()["pause"])
    )
    _write(node / "etc/crictl.yaml", "runtime-endpoint: unix:///run/containerd/containerd.sock\n")
    _write(node / "etc/systemd/journald.conf.d/node.conf", _JOURNAL)
    for folder in ("etc/cni/net.d", "etc/kubernetes/manifests"):
        (node / folder).mkdir(parents=True, exist_ok=True)
    _set_up_systemd(node)


def _set_up_systemd(node: Path) -> None:
    for link in (node / "etc/systemd/system").glob("*.wants/*"):
        link.unlink()
    systemctl: list[str | Path] = ["chroot", node, "systemctl", "--quiet"]
    run([*systemctl, "enable", "containerd", "kubelet"])
    run([*systemctl, "set-default", "multi-user.target"])
    run([*systemctl, "mask", *_MASKED])
    # The D-Bus identity of the image would make all nodes one machine: each makes its own.
    identity = node / "var/lib/dbus/machine-id"
    identity.unlink(missing_ok=True)
    identity.symlink_to("/etc/machine-id")


def _install(source: Path, target: Path, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _write(target: Path, content: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content)


def own_docker() -> None:
    """Start a docker of ours where this machine has none."""
    if not docker.installed():
        docker.start()
