"""JSON schemas of Kubernetes' objects, for kubeconform, from Kubernetes' own OpenAPI documents.

kubeconform would fetch its schemas from the network. The documents are in the Go module that the
cluster's programs are built from, so where those were built they are at hand.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/"
_DEFINITION = "#/definitions/"


def documents() -> Path | None:
    """The folder of the newest Kubernetes' documents on this machine."""
    cache = Path(os.environ.get("GOMODCACHE") or Path.home() / "go/pkg/mod")
    found = sorted(cache.glob("k8s.io/kubernetes@*/api/openapi-spec/v3"))
    return found[-1] if found else None


def write_schemas(source: Path, target: Path, kinds: set[tuple[str, str]]) -> None:
    """A file for each (apiVersion, kind) that Kubernetes itself has, as kubeconform names it."""
    for api_version in {version for version, _ in kinds}:
        path = source / f"{_path(api_version).replace('/', '__')}_openapi.json"
        if not path.exists():
            continue
        schemas = json.loads(path.read_text(encoding="utf-8"))["components"]["schemas"]
        definitions = {name: _strict(schema) for name, schema in schemas.items()}
        for name, schema in schemas.items():
            for known in schema.get("x-kubernetes-group-version-kind", ()):
                kind = (_api_version(known), known["kind"])
                if kind in kinds:
                    needed = _needed(name, definitions)
                    whole = {"$ref": f"{_DEFINITION}{name}", "definitions": needed}
                    (target / _file_name(*kind)).write_text(json.dumps(whole), encoding="utf-8")


def _needed(name: str, definitions: Json) -> Json:
    """The definition and all that it refers to."""
    found: Json = {}
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found[each] = definitions[each]
            waiting += _references(definitions[each])
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for each in schema:
            yield from _references(each)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(_DEFINITION)
            else:
                yield from _references(value)


def _path(api_version: str) -> str:
    return f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"


def _api_version(known: Json) -> str:
    return f"{known['group']}/{known['version']}" if known["group"] else known["version"]


def _file_name(api_version: str, kind: str) -> str:
    """`{{ .ResourceKind }}{{ .KindSuffix }}.json` of kubeconform."""
    group, _, version = api_version.rpartition("/")
    words = [kind, group.partition(".")[0], version]
    return "-".join(word for word in words if word).lower() + ".json"


def _strict(schema: Any) -> Any:
    """The same with references as JSON schema has them; a key that nobody knows is an error."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _strict(value) for key, value in schema.items()}
    if isinstance(changed.get("$ref"), str):
        changed["$ref"] = changed["$ref"].replace(_REFERENCE, _DEFINITION)
    if "properties" in changed and changed.get("type") == "object":
        changed.setdefault("additionalProperties", False)
    return changed
