"""The schema of the values: whole, strict, and the same as the values themselves."""

import dataclasses
import json
from importlib import import_module

import pytest
import yaml

from tests.support.chart import CHART, SERVICES

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


def resolved(schema):
    reference = schema.get("$ref", "").removeprefix("#/$defs/")
    return SCHEMA["$defs"][reference] | schema if reference else schema


def nodes(schema, path=""):
    """Every schema of a value, with where it stands."""
    schema = resolved(schema)
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for child in schema.get("patternProperties", {}).values():
        yield from nodes(child, f"{path}.*")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from nodes(schema[keyword], f"{path}[]")


OBJECTS = [
    (path, schema)
    for path, schema in nodes(SCHEMA)
    if schema.get("type") == "object" and path != ".global"
]


def test_every_key_is_described():
    keys = [(path, schema) for path, schema in nodes(SCHEMA) if not path.endswith("[]")]
    assert [path for path, schema in keys if not schema.get("description")] == []


def test_no_object_takes_a_key_that_nobody_knows():
    loose = [path for path, schema in OBJECTS if schema.get("additionalProperties", True) is True]
    assert loose == []


def missing(values, schema, path=""):
    """Keys that only one of the two knows."""
    schema = resolved(schema)
    known = schema.get("properties")
    if known is None or not isinstance(values, dict):
        return
    yield from (f"{path}.{key}: no such key" for key in values.keys() - known.keys())
    if not path.endswith(".settings"):
        absent = known.keys() - values.keys() - {"global"}
        yield from (f"{path}.{key}: no default" for key in absent)
    for key in values.keys() & known.keys():
        yield from missing(values[key], known[key], f"{path}.{key}")


def test_every_key_has_a_default():
    optional = {".requests", ".limits"}
    found = [line for line in missing(VALUES, SCHEMA) if not any(o in line for o in optional)]
    assert found == []


@pytest.mark.parametrize("service", SERVICES)
def test_settings_of_a_service_are_those_that_it_has(service):
    module = import_module(f"gridloom_services.{service}.settings")
    kind = getattr(module, f"{service.capitalize()}Settings")
    fields = {field.name for field in dataclasses.fields(kind)}
    offered = SCHEMA["properties"][service]["properties"]["settings"]["properties"]
    assert offered.keys() - fields == set()
