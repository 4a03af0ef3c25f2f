"""What `gridloom doctor` finds."""

from __future__ import annotations

from enum import StrEnum

from gridloom.values import dataclass


class Verdict(StrEnum):
    """What a check comes to."""

    OK = "ok"
    REMARK = "remark"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check and what it found."""

    check: str
    verdict: Verdict
    detail: str
