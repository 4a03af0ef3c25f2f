"""The chart as helm renders it: manifests as values."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.e2e.node_image.go_programs import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "gridloom"
EXAMPLES = sorted(path.stem for path in (CHART / "examples").glob("*.yaml"))
NAMESPACE = "gridloom"
SERVICES = ("scheduler", "functions", "objects", "mpi")

Manifest = dict[str, Any]


def tool(name: str) -> str | None:
    """The program on the PATH, else the one that `make helm-test` has built."""
    built = place_of(name) / name
    return shutil.which(name) or (str(built) if built.exists() else None)


HELM = tool("helm")


def helm(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm; the caller looks at how it ended."""
    assert HELM is not None
    return subprocess.run(
        [HELM, *words], input=stdin, capture_output=True, text=True, check=False, timeout=60
    )


def example(name: str) -> tuple[str, ...]:
    """The words that choose an example's values; "" for those of the chart alone."""
    return ("--values", str(CHART / "examples" / f"{name}.yaml")) if name else ()


def setting(**values: Any) -> tuple[str, ...]:
    """Words that set values: `setting(front__replicas=2)`."""
    words = (f"{name.replace('__', '.')}={json.dumps(value)}" for name, value in values.items())
    return tuple(word for pair in words for word in ("--set-json", pair))


@functools.cache
def text(*words: str) -> str:
    """What `helm template` prints for these values."""
    done = helm("template", "gridloom", str(CHART), "--namespace", NAMESPACE, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def manifests(*words: str) -> list[Manifest]:
    """The objects of the chart with these values, hooks and tests included; not to be changed."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [found for found in yaml.load_all(text(*words), loader) if found]


def refusal(*words: str) -> str:
    """What helm says about values that it must not take."""
    done = helm("template", "gridloom", str(CHART), "--namespace", NAMESPACE, *words)
    assert done.returncode != 0, "these values were taken"
    return done.stderr


def of_kind(kind: str, *words: str) -> list[Manifest]:
    """The objects of one kind."""
    return [found for found in manifests(*words) if found["kind"] == kind]


def named(kind: str, name: str, *words: str) -> Manifest:
    """The object of this kind whose name ends so."""
    (found,) = [m for m in of_kind(kind, *words) if m["metadata"]["name"] == f"gridloom-{name}"]
    return found


def pod_specs(*words: str) -> Iterator[tuple[str, Manifest]]:
    """Every pod that would run: whose it is, and its specification."""
    for found in manifests(*words):
        name = f"{found['kind']} {found['metadata']['name']}"
        if found["kind"] == "Pod":
            yield name, found["spec"]
        elif found["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield name, found["spec"]["template"]["spec"]


def environment(component: str, *words: str) -> dict[str, str]:
    """What a component's process finds in its environment; of secrets, a text that will do."""
    spec = named("Deployment", component, *words)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        if "configMapRef" in source:
            name = source["configMapRef"]["name"].removeprefix("gridloom-")
            found |= named("ConfigMap", name, *words)["data"]
    secret = "postgresql+psycopg://user@host/database"
    return found | {e["name"]: e.get("value", secret) for e in container.get("env", ())}
