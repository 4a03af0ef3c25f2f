"""Flavours: kinds of nodes that jobs may run on, each with the taints that its pods tolerate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from gridloom.values import dataclass

from gridloom_services.common.errors import SettingsError

SETTING = "GRIDLOOM_SCHEDULER_KUBERNETES_FLAVOURS"
_KEYS = {"nodeSelector", "tolerations"}
_KEEPS_OUT = {"NoSchedule", "NoExecute"}
# Taints that come and go with a node's condition: no question of flavour.
CONDITIONS = "node.kubernetes.io/"

Toleration = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Flavour:
    """Nodes by their labels. `name` is the node's label "flavour" for jobs that select by it."""

    name: str
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()

    def has(self, labels: Mapping[str, str]) -> bool:
        """Say whether a node with these labels is of this flavour."""
        return all(labels.get(key) == value for key, value in self.node_selector.items())

    def tolerates(self, taint: Mapping[str, Any]) -> bool:
        """Say whether its pods may be on a node with this taint."""
        return any(_tolerates(each, taint) for each in self.tolerations)


ANY = Flavour("")


def flavour_of(node: Mapping[str, Any], flavours: tuple[Flavour, ...]) -> Flavour | None:
    """Return the first flavour that a node has; None: it is not for jobs.

    Without flavours every node is, unless a taint keeps its pods out.
    """
    labels = node["metadata"].get("labels", {})
    chosen = next((each for each in flavours if each.has(labels)), None)
    if chosen is None:
        chosen = ANY if not flavours else None
    if chosen is None or not all(chosen.tolerates(taint) for taint in _taints(node)):
        return None
    return chosen


def _taints(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    taints = node.get("spec", {}).get("taints", [])
    return [
        taint
        for taint in taints
        if taint["effect"] in _KEEPS_OUT and not taint["key"].startswith(CONDITIONS)
    ]


def _tolerates(toleration: Toleration, taint: Mapping[str, str]) -> bool:
    if toleration.get("effect", taint["effect"]) != taint["effect"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return bool(toleration.get("key", taint["key"]) == taint["key"])
    same_value = toleration.get("value", "") == taint.get("value", "")
    return bool(toleration.get("key") == taint["key"] and same_value)


def read_flavours(text: str) -> tuple[Flavour, ...]:
    """Read the setting: {"a100": {"nodeSelector": {...}, "tolerations": [...]}}.

    SettingsError for what is no such thing.
    """
    try:
        given = json.loads(text) if text else {}
        return tuple(_flavour(name, each) for name, each in given.items())
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"{SETTING} is no object of flavours: {error}",
            field=SETTING,
            allowed='{"NAME": {"nodeSelector": {...}, "tolerations": [...]}}',
        ) from error


def _flavour(name: str, given: Mapping[str, Any]) -> Flavour:
    if unknown := given.keys() - _KEYS:
        raise ValueError(f"{name} has {', '.join(sorted(unknown))}; known are {sorted(_KEYS)}")
    return Flavour(name, dict(given.get("nodeSelector", {})), tuple(given.get("tolerations", ())))
