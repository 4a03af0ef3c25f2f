"""Classes: jobs that ask for the same gang share one, so that one answer serves them all."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from gridloom_services.common.values import dataclass
from gridloom_services.scheduler.engine.columns import FAR, Need, Resources, Table
from gridloom_services.scheduler.engine.errors import EngineError
from gridloom_services.scheduler.engine.events import MAX_REPLICAS, MAX_ROLES, RoleRequest
from gridloom_services.scheduler.engine.nodes import Selector, is_device

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from gridloom_services.scheduler.engine.nodes import NodeTable


@dataclass(frozen=True, slots=True)
class Role:
    """One role of a class: `gang` replicas start together, up to `wanted` may come later.

    `share` is how many of them a node takes, or none; 0: as many as it holds.
    """

    name: str
    gang: int
    wanted: int
    need: Need
    share: int = 0

    @property
    def elastic(self) -> bool:
        """Whether replicas come and go singly."""
        return self.gang < self.wanted


@dataclass(frozen=True)
class Shape:
    """What a gang asks for. `order` is the order in which roles are placed: the hardest first."""

    roles: tuple[Role, ...]
    selector: Selector
    order: tuple[int, ...]
    total: Need
    devices: bool

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where each role stands in `roles`."""
        return {role.name: position for position, role in enumerate(self.roles)}

    @cached_property
    def elastic(self) -> bool:
        """Whether any role is."""
        return any(role.elastic for role in self.roles)

    def position(self, role: str) -> int:
        """Where a role stands; `EngineError` where there is none of this name."""
        position = self.positions.get(role)
        if position is None:
            raise EngineError(f"role {role!r} does not exist; roles: {', '.join(self.positions)}")
        return position


def shape_of(resources: Resources, roles: Iterable[Role], selector: Selector) -> Shape:
    """The shape of these roles on nodes that carry these labels."""
    roles = tuple(roles)
    if not 1 <= len(roles) <= MAX_ROLES or len({role.name for role in roles}) != len(roles):
        raise EngineError(f"a gang has 1 to {MAX_ROLES} roles, no two of the same name")
    total: dict[int, int] = {}
    for role in roles:
        for number, amount in role.need:
            total[number] = total.get(number, 0) + amount * role.gang
    if any(amount >= FAR for amount in total.values()):
        raise EngineError(f"the gang asks for {max(total.values())} of one resource in all")
    names = resources.names
    return Shape(
        roles=roles,
        selector=selector,
        order=tuple(sorted(range(len(roles)), key=lambda i: _ease(roles[i], names, i))),
        total=tuple(sorted(total.items())),
        devices=any(is_device(names[number]) for number in total),
    )


def _ease(role: Role, names: list[str], position: int) -> tuple[int, ...]:
    need = {names[number]: amount for number, amount in role.need}
    devices = sum(amount for name, amount in need.items() if is_device(name))
    others = sum(need.values()) - devices - need.get("cpu", 0) - need.get("memory", 0)
    return (-devices, -need.get("cpu", 0), -need.get("memory", 0), -others, -role.gang, position)


def role_of(request: RoleRequest, resources: Resources) -> Role:
    """A role as it was asked for, checked; `EngineError` names what is wrong with it."""
    gang = request.min_replicas or request.replicas
    if not 1 <= gang <= request.replicas <= MAX_REPLICAS:
        raise EngineError(
            f"role {request.name!r}: min_replicas {request.min_replicas} and replicas "
            f"{request.replicas}; allowed: 1 <= min_replicas <= replicas <= {MAX_REPLICAS}"
        )
    if request.per_node and (request.per_node < 0 or gang < request.replicas):
        raise EngineError(
            f"role {request.name!r}: per_node {request.per_node}; allowed: 1 and more, where all"
            " replicas start together"
        )
    need = resources.need(request.resources)
    return Role(request.name, gang, request.replicas, need, min(request.per_node, gang))


class ClassTable(Table):
    """One row a class that some job refers to; a class that nobody refers to is gone.

    `reach` remembers, for the node `epoch` beside it, which nodes the class may use (see `fit`).
    `single` is set where there is one role without a share; its `replicas` and `need` serve
    comparisons.
    """

    fields: ClassVar[tuple[str, ...]] = (
        "references",
        "single",
        "replicas",
        "selector",
        "devices",
        "reach",
        "epoch",
    )

    references: memoryview[int]
    single: memoryview[int]
    replicas: memoryview[int]
    selector: memoryview[int]
    devices: memoryview[int]
    reach: memoryview[int]
    epoch: memoryview[int]

    def __init__(self, resources: Resources, nodes: NodeTable) -> None:
        self.resources = resources
        self.nodes = nodes
        self.need = resources.block()
        self.total = resources.block()
        super().__init__(self.need, self.total)
        self.shapes: list[Shape | None] = []
        self._rows: dict[Hashable, int] = {}
        self._keys: list[Hashable] = []
        self._selectors: dict[Selector, tuple[int, int]] = {}
        self._selectors_by_number: dict[int, Selector] = {}
        self._next_selector = 1

    def acquire(self, requests: tuple[RoleRequest, ...], selector: Mapping[str, str]) -> int:
        """The row of the class of these roles; one more job refers to it."""
        labels = tuple(sorted(selector.items())) if selector else ()
        # A list, not a generator: this is on the way of every submission.
        asked = [
            (r.name, r.replicas, r.min_replicas, r.per_node, tuple(sorted(r.resources.items())))
            for r in requests
        ]
        key = (tuple(asked), labels)
        row = self._rows.get(key)
        if row is None:
            roles = tuple(role_of(request, self.resources) for request in requests)
            row = self._add(key, shape_of(self.resources, roles, labels))
        self.references[row] += 1
        return row

    def acquire_growth(self, role: Role, selector: Selector) -> int:
        """The row of the class of one more replica of a role; one more job refers to it."""
        key = (role.need, selector)
        row = self._rows.get(key)
        if row is None:
            single = Role("", 1, 1, role.need)
            row = self._add(key, shape_of(self.resources, (single,), selector))
        self.references[row] += 1
        return row

    def release(self, row: int) -> None:
        """One job less refers to this class; the last one takes it along."""
        self.references[row] -= 1
        if self.references[row]:
            return
        self._release_selector(self.shape(row).selector)
        del self._rows[self._keys[row]]
        self.shapes[row] = None
        self.give(row)

    def shape(self, row: int) -> Shape:
        """What this class asks for."""
        shape = self.shapes[row]
        if shape is None:
            raise EngineError(f"class {row} is gone")
        return shape

    def __len__(self) -> int:
        return len(self._rows)

    def selector_of(self, number: int) -> Selector:
        """The selector of this number that some class has."""
        return self._selectors_by_number[number]

    def _add(self, key: Hashable, shape: Shape) -> int:
        row = self.take()
        if row == len(self.shapes):
            self.shapes.append(None)
            self._keys.append(None)
        self.shapes[row] = shape
        self._keys[row] = key
        self._rows[key] = row
        self.selector[row] = self._acquire_selector(shape.selector)
        self.replicas[row] = shape.roles[0].gang
        self.devices[row] = int(shape.devices)
        if len(shape.roles) == 1 and not shape.roles[0].share:
            self.single[row] = 1
            for number, amount in shape.roles[0].need:
                self.need.views[number][row] = amount
        for number, amount in shape.total:
            self.total.views[number][row] = amount
        return row

    def _acquire_selector(self, selector: Selector) -> int:
        number, references = self._selectors.get(selector, (0, 0))
        if not references:
            number = self._next_selector
            self._next_selector += 1
            self._selectors_by_number[number] = selector
        self._selectors[selector] = (number, references + 1)
        return number

    def _release_selector(self, selector: Selector) -> None:
        number, references = self._selectors[selector]
        if references > 1:
            self._selectors[selector] = (number, references - 1)
            return
        del self._selectors[selector], self._selectors_by_number[number]
        if selector:
            self.nodes.forget_mask(selector)
