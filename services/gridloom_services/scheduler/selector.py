"""Label selectors with the syntax of kubectl, and what labels may look like.

"study=a,step!=3,gpu,!draft,site in (x, y),tier notin (z)": every requirement must hold. As in
kubectl, `!=` and `notin` also hold for what does not have the label.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING

from gridloom.values import dataclass

from gridloom_services.common.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PREFIX = r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
LABEL_KEY = re.compile(rf"(?:{_PREFIX}/)?{_NAME}")
LABEL_VALUE = re.compile(rf"(?:{_NAME})?")
SYNTAX = '"key=value", "key!=value", "key in (a,b)", "key notin (a,b)", "key", "!key", by commas'

_REQUIREMENT = re.compile(
    r"\s*(?:(?P<absent>!)\s*)?(?P<key>[^\s!=,()]+)\s*"
    r"(?:(?P<equals>==?|!=)\s*(?P<value>[^\s!=,()]*)"
    r"|(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?\s*(?:,|$)"
)


class Operator(enum.Enum):
    """What a requirement asks of one label."""

    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Say whether these labels satisfy it."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.ABSENT:
                return self.key not in labels


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Return the requirements of a selector; InvalidRequestError says where it is wrong."""
    requirements, position = [], 0
    while position < len(text.rstrip()):
        found = _REQUIREMENT.match(text, position)
        if found is None:
            raise _refusal(text, f'cannot read the label selector at "{text[position:]}"')
        requirements.append(_requirement(text, found))
        position = found.end()
    if text.rstrip().endswith(","):
        raise _refusal(text, "the label selector ends with a comma")
    return tuple(requirements)


def _requirement(text: str, found: re.Match[str]) -> Requirement:
    key = found["key"]
    if not LABEL_KEY.fullmatch(key):
        raise _refusal(text, f'"{key}" cannot be the key of a label')
    if found["absent"]:
        if found["equals"] or found["set"]:
            raise _refusal(text, f'"!" before "{key}" stands alone')
        return Requirement(key, Operator.ABSENT)
    if found["equals"] is None and found["set"] is None:
        return Requirement(key, Operator.EXISTS)
    listed = [found["value"]] if found["equals"] else found["values"].split(",")
    values = frozenset(value.strip() for value in listed)
    for value in values:
        if not LABEL_VALUE.fullmatch(value):
            raise _refusal(text, f'"{value}" cannot be the value of a label')
    negated = found["equals"] == "!=" or found["set"] == "notin"
    return Requirement(key, Operator.NOT_IN if negated else Operator.IN, values)


def _refusal(text: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(message, field="label_selector", given=text, allowed=SYNTAX)
