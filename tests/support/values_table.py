"""The table of the chart's values for its README, from the schema and the values themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.chart import CHART

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 60


def values_table() -> str:
    """Markdown: a line a value, in the order of values.yaml."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    lines = ["| value | default | what it is |", "|---|---|---|"]
    for path, default, description in _rows(values, schema, schema["$defs"], ""):
        lines.append(f"| `{path}` | {_shown(default)} | {description} |")
    return "\n".join(lines) + "\n"


def _rows(
    values: dict[str, Any], schema: dict[str, Any], known: dict[str, Any], path: str
) -> Iterator[tuple[str, Any, str]]:
    for key, default in values.items():
        child = _resolved(schema["properties"][key], known)
        here = f"{path}.{key}".removeprefix(".")
        is_group = isinstance(default, dict) and default and "properties" in child
        if is_group and not here.endswith("resources") and "repository" not in child["properties"]:
            yield from _rows(default, child, known, here)
        else:
            yield here, default, child["description"].replace("|", "\\|")


def _resolved(schema: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "").removeprefix("#/$defs/")
    return {**known[reference], **schema} if reference else schema


def _shown(default: Any) -> str:
    if default in ("", None):
        return ""
    text = default if isinstance(default, str) else json.dumps(default)
    if len(text) > _LONGEST:
        return "see values.yaml"
    return f"`{text}`"
