"""Kubernetes' quantities ("1500m", "16Gi", "2") and our whole numbers."""

from __future__ import annotations

from fractions import Fraction

CPU = "cpu"
MEMORY = "memory"

_SUFFIXES = {
    **{unit: Fraction(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)},
    **{unit: Fraction(1024) ** power for power, unit in enumerate(("Pi", "Ei"), 5)},
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{unit: Fraction(1000) ** power for power, unit in enumerate(("k", "M", "G"), 1)},
    **{unit: Fraction(1000) ** power for power, unit in enumerate(("T", "P", "E"), 4)},
}


def parse_quantity(text: str) -> Fraction:
    """Return the number that a quantity means. ValueError for none."""
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if text.endswith(suffix):
            return Fraction(text[: -len(suffix)]) * _SUFFIXES[suffix]
    return Fraction(text)


def offered(resource: str, quantity: str) -> int:
    """Return what a node has, in our units, rounded down: thousandths of "cpu", else ones."""
    value = parse_quantity(quantity)
    return int(value * 1000 if resource == CPU else value)


def claimed(resource: str, quantity: str) -> int:
    """Return what a pod asks for, in our units, rounded up."""
    value = parse_quantity(quantity)
    return -int(-(value * 1000 if resource == CPU else value) // 1)


def quantity(resource: str, amount: int) -> str:
    """Return an amount in our units as a quantity."""
    if resource == CPU:
        return str(amount // 1000) if amount % 1000 == 0 else f"{amount}m"
    return str(amount)
