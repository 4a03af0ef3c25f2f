"""The Go programs of a cluster, built from their published modules at the versions of `programs/`.

Each has a module of ours (go.mod and go.sum checked in) that names it as a tool: `go install
MODULE@VERSION` refuses modules whose go.mod has replace lines, as those of etcd and cri-tools do.
Modules come from wherever this machine's `go` is set up to take them.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.machine.places import cache, key_of_files
from tests.e2e.machine.run import run, step

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODULES = Path(__file__).parent / "programs"
_KUBERNETES = "k8s.io/kubernetes/cmd/"
# What a program is built from, by its module here.
PROGRAMS: Mapping[str, Mapping[str, str]] = {
    "kubernetes": {
        name: f"{_KUBERNETES}{name}"
        for name in (
            *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"),
            *("kubelet", "kubeadm", "kubectl"),
        )
    },
    "kind": {"kind": "sigs.k8s.io/kind"},
    "crictl": {"crictl": "sigs.k8s.io/cri-tools/cmd/crictl"},
    # The etcd that `kubeadm config images list` names: Debian's does not know kubeadm's flags.
    "etcd": {"etcd": "go.etcd.io/etcd/server/v3"},
    # With the few plug-ins that kubeadm's Corefile names: a quarter of the build, half the size.
    "coredns": {"coredns": "."},
    "helm": {"helm": "helm.sh/helm/v4/cmd/helm"},
    "kubeconform": {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"},
    "kwok": {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
}
# Those that a node image has in it, or is used with.
OF_CLUSTERS = ("kubernetes", "kind", "crictl", "etcd", "coredns")
# Those that no test needs: built by who measures with them.
_OF_FIGURES = ("kwok",)
OF_TESTS = tuple(module for module in PROGRAMS if module not in _OF_FIGURES)


@dataclass(frozen=True, slots=True)
class GoPrograms:
    """Where the programs of one module are."""

    module: str
    folder: Path

    def path(self, name: str) -> Path:
        """The file of one program."""
        return self.folder / name


def kubernetes_version() -> str:
    """The version of Kubernetes that is built here, like "v1.36.2"."""
    text = (_MODULES / "kubernetes" / "go.mod").read_text()
    found = re.search(r"k8s\.io/kubernetes (v[0-9.]+)", text)
    assert found is not None
    return found[1]


def place_of(module: str) -> Path:
    """Where the cache has the programs of `module`, keyed by all they are made from."""
    files = [file for file in (_MODULES / module).iterdir() if file.is_file()]
    return cache() / "programs" / f"{module}-{key_of_files(files, *_flags(module))}"


def built(module: str) -> GoPrograms:
    """The programs of one module, from the cache or built."""
    folder = place_of(module)
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        with step(f"build {', '.join(PROGRAMS[module])}"):
            for name, package in PROGRAMS[module].items():
                _build(module, package, part / name)
        part.rename(folder)
    return GoPrograms(module, folder)


def download(module: str, package: str) -> None:
    """Have the source of one of a module's packages at hand, at the version that is built here."""
    with step(f"download {package}"):
        run(["go", "mod", "download", package], folder=_MODULES / module)


def _build(module: str, package: str, to: Path) -> None:
    run(
        ["nice", "-n", "10", "go", "build", *_flags(module), "-o", to, package],
        folder=_MODULES / module,
        environment={"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly"},
    )


def _flags(module: str) -> list[str]:
    stamp = ["-s", "-w"]
    if module == "kubernetes":
        stamp += _version_stamp(kubernetes_version())
    return ["-trimpath", "-ldflags", " ".join(stamp)]


def _version_stamp(version: str) -> list[str]:
    """What the programs report as their version; kubeadm and the API server reason with it."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return [f"-X {package}.{key}={value}" for package in packages for key, value in values.items()]
