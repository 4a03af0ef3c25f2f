"""The docker that nodes and images are made with: the machine's own, or one unpacked beside it.

The second needs root, and cgroup v1 controllers or cgroup v2 mounted; it installs nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.machine import network
from tests.e2e.machine.debian import side_load
from tests.e2e.machine.places import cache, key_of, run_folder
from tests.e2e.machine.run import StepError, step, succeeds

if TYPE_CHECKING:
    from collections.abc import Mapping

# docker 26.1 of trixie: `--privileged` asks for those capabilities only that there are (that of
# bookworm fails without CAP_SYS_RESOURCE). containerd and runc of bookworm: a newer runc does not
# start in such a place. iptables and nft: dockerd programs NAT with them.
_PACKAGES = (
    *("docker.io/trixie", "docker-cli/trixie", "containerd", "runc", "iptables", "nftables"),
    *("libxtables12", "libip4tc2", "libip6tc2", "libnftnl11", "libmnl0", "libnftables1"),
    *("libnetfilter-conntrack3", "libnfnetlink0"),
)
_SUITES = ("bookworm", "trixie")
_WRAPPED = {
    "iptables": "iptables-nft",
    "ip6tables": "ip6tables-nft",
    "iptables-save": "iptables-nft-save",
    "iptables-restore": "iptables-nft-restore",
    "ip6tables-save": "ip6tables-nft-save",
    "ip6tables-restore": "ip6tables-nft-restore",
    "nft": "nft",
}
_CGROUP_PARENT = "gridloom-e2e"
_START_PATIENCE_S = 60.0
_STOP_PATIENCE_S = 30.0


def installed() -> bool:
    """Whether this machine has a docker that answers (`E2E_DOCKER=own` leaves it alone).

    The one that `start` started is not the machine's, though it answers as well.
    """
    if os.environ.get("E2E_DOCKER") == "own" or os.environ.get("DOCKER_HOST") == _address():
        return False
    return succeeds(["docker", "version"])


def side_loaded() -> Path:
    """The folder of the docker that is unpacked beside the system, from the cache or made."""
    folder = cache() / f"docker-{key_of(*_PACKAGES, *_SUITES, *_WRAPPED)}"
    if not folder.is_dir():
        with step("unpack docker"):
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            side_load(part, _PACKAGES, _SUITES)
            _write_wrappers(part, folder)
            part.rename(folder)
    return folder


def _write_wrappers(part: Path, folder: Path) -> None:
    """iptables needs libraries and plug-ins that dockerd's other children may not inherit."""
    (part / "wrap").mkdir()
    libraries = f"{folder}/usr/lib/x86_64-linux-gnu"
    for name, program in _WRAPPED.items():
        wrapper = part / "wrap" / name
        wrapper.write_text(
            "#!/bin/sh\n"
            f"export LD_LIBRARY_PATH={libraries}:{folder}/lib/x86_64-linux-gnu\n"
            f"export XTABLES_LIBDIR={libraries}/xtables\n"
            f'exec {folder}/usr/sbin/{program} "$@"\n'
        )
        wrapper.chmod(0o755)


def environment() -> Mapping[str, str]:
    """What programs need in their environment to find the docker that `start` started."""
    folder = side_loaded()
    places = (folder / "wrap", folder / "usr/sbin", folder / "usr/bin")
    path = os.pathsep.join([*map(str, places), os.environ["PATH"]])
    return {"PATH": path, "DOCKER_HOST": _address()}


def start() -> None:
    """Start dockerd in a network of its own; when this returns, it answers."""
    os.environ.update(environment())
    if succeeds(["docker", "version"]):
        return
    if os.geteuid() != 0:
        raise StepError("no docker answers here, and only root can start one")
    run_folder().mkdir(parents=True, exist_ok=True)
    network.make()
    with (run_folder() / "dockerd.log").open("ab") as log:
        # Nobody's child: it outlives this process, which would have to wait for it otherwise.
        command = ["setsid", "--fork", *_command()]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
    deadline = time.monotonic() + _START_PATIENCE_S
    while not succeeds(["docker", "version"]):
        if time.monotonic() > deadline:
            words = (run_folder() / "dockerd.log").read_text(errors="replace")
            raise StepError(f"dockerd does not answer: {words[-2000:]}")
        time.sleep(0.2)
    network.open_door()


def _command() -> list[str]:
    home = run_folder()
    words = network.inside(
        *("dockerd", "--data-root", _data(), "--exec-root", home / "run"),
        *("--pidfile", _pid_file(), "--host", _address()),
        *("--bridge", "none", "--default-address-pool", f"base={network.POOL},size=24"),
        # Names outside the cluster do not resolve.
        *("--dns", "127.0.0.1", "--storage-driver", "overlay2"),
        *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{_CGROUP_PARENT}"),
    )
    return [str(word) for word in words]


def stop() -> None:
    """End dockerd and take back all that it changed here. Does nothing when it is gone."""
    _end_daemon()
    network.remove()
    home = run_folder()
    for folder in (home, _data()):
        _unmount_below(folder)
    for top in Path("/sys/fs/cgroup").glob(f"*/{_CGROUP_PARENT}"):
        for group, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(group).rmdir()
    for empty in ("containerd/s", "containerd", "docker/plugins", "docker"):
        with contextlib.suppress(OSError):
            (Path("/run") / empty).rmdir()
    shutil.rmtree(home, ignore_errors=True)


def _end_daemon() -> None:
    """By its pid file, and only if that process really is dockerd."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(_pid_file().read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() != "dockerd":
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_PATIENCE_S
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.1)


def _unmount_below(folder: Path) -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), reverse=True):
        succeeds(["umount", point])


def _address() -> str:
    return f"unix://{run_folder() / 'docker.sock'}"


def _data() -> Path:
    """What docker keeps: images outlive the cluster, so that the next run need not make them."""
    return cache() / "docker-data"


def _pid_file() -> Path:
    return run_folder() / "dockerd.pid"
