"""The objects that stand for a gang beside its pods: pure functions of the gang."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gridloom_services.scheduler.runtime.kubernetes import names
from gridloom_services.scheduler.runtime.kubernetes.units import units_to_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridloom_services.scheduler.runtime.base import Gang
    from gridloom_services.scheduler.runtime.units import Units

Manifest = dict[str, Any]

GANG_KEY = "gang.json"
UNITS_KEY = "units.json"
TOKEN_KEY = "token"  # noqa: S105 - the name of a key
# Stands for a token that is in the gang's secret, where nobody reads it.
KEPT = "(kept)"


def owner_manifest(
    gang: Gang, units: Units, labels: Mapping[str, str], anchor: Manifest | None
) -> Manifest:
    """Return the object that is the gang: it owns all others, and holds what must not be lost.

    The gang's token is not in it.
    """
    record = asdict(gang, dict_factory=_given)
    metadata = _metadata(gang, names.dns_name(gang.name), labels)
    if anchor is not None:
        metadata["ownerReferences"] = [owner_reference(anchor)]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {
            GANG_KEY: json.dumps(record, separators=(",", ":")),
            UNITS_KEY: units_to_text(units),
            **({TOKEN_KEY: KEPT} if gang.token else {}),
        },
    }


def token_manifest(gang: Gang, labels: Mapping[str, str], owner: Manifest) -> Manifest:
    """Return the secret with the gang's token."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": owned(_metadata(gang, names.token_name(gang.name), labels), owner),
        "type": "Opaque",
        "immutable": True,
        "data": {TOKEN_KEY: base64.b64encode(gang.token.encode()).decode()},
    }


def service_manifest(gang: Gang, labels: Mapping[str, str], owner: Manifest) -> Manifest:
    """Return the headless Service by which the gang's pods know each other, ready or not."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owned(_metadata(gang, names.dns_name(gang.name), labels), owner),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {**names.OURS, names.GANG: names.label_value(gang.name)},
        },
    }


def policy_manifest(gang: Gang, labels: Mapping[str, str], owner: Manifest) -> Manifest:
    """Return what lets the gang's pods speak with each other, at any port, and lets in nobody else.

    Pods of jobs let in nobody of themselves: a gang of one pod has no such object.
    """
    ours = {"matchLabels": {**names.OURS, names.GANG: names.label_value(gang.name)}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owned(_metadata(gang, names.dns_name(gang.name), labels), owner),
        "spec": {
            "podSelector": ours,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": ours}]}],
        },
    }


def owner_reference(owner: Manifest) -> Manifest:
    """Return how an object says whose it is."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }


def owned(metadata: Manifest, owner: Manifest) -> Manifest:
    """Return the metadata with an owner."""
    return {**metadata, "ownerReferences": [owner_reference(owner)]}


def gang_labels(gang: Gang, labels: Mapping[str, str]) -> Manifest:
    """Return the labels of every object of a gang."""
    return {
        **labels,
        **names.OURS,
        names.GANG: names.label_value(gang.name),
        names.JOB: names.label_value(gang.job_id),
    }


def _given(fields: list[tuple[str, Any]]) -> Manifest:
    return {key: value for key, value in fields if value is not None and key != "token"}


def _metadata(gang: Gang, name: str, labels: Mapping[str, str]) -> Manifest:
    return {
        "name": name,
        "labels": gang_labels(gang, labels),
        "annotations": {names.GANG: gang.name},
    }
