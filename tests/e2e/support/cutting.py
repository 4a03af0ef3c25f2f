"""A node that is cut off from the network, and comes back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.e2e.machine.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator

_RULES = (("INPUT", "-i", "eth0"), ("OUTPUT", "-o", "eth0"), ("FORWARD", "-i", "eth0"))


@contextlib.contextmanager
def cut_off(node: str) -> Iterator[None]:
    """Nothing gets in or out of the node; what runs on it runs on."""
    for chain, *where in _RULES:
        run(["docker", "exec", node, "iptables", "-I", chain, "1", *where, "-j", "DROP"])
    try:
        yield
    finally:
        for chain, *where in _RULES:
            run(["docker", "exec", node, "iptables", "-D", chain, *where, "-j", "DROP"])
