"""Whether a job could ever start here: refused at submit is better than pending for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridloom_services.common.errors import InvalidRequestError, QuotaExceededError
from gridloom_services.scheduler.eligibility import role_requests, shape_of
from gridloom_services.scheduler.engine import Engine, EngineError, events
from gridloom_services.scheduler.runtime.base import Feature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gridloom_services.scheduler.engine.decisions import Misfit, NodeState
    from gridloom_services.scheduler.queue import Queue
    from gridloom_services.scheduler.runtime.base import NodeCapacity
    from gridloom_services.scheduler.spec import JobSpec, Role

_MOST_NODES_NAMED = 5
_MOST_KEPT = 4096
_MIB = 1 << 20
_GIB = 1 << 30


def shown_amount(resource: str, amount: int) -> str:
    """Return an amount as people say it: "2 cpu", "1.5 GiB memory", "1 nvidia.com/gpu"."""
    if resource == "cpu":
        return f"{amount / 1000:g} cpu"
    if resource == "memory":
        size = (
            f"{amount / _MIB:.4g} MiB" if amount < _GIB else f"{round(amount / _GIB, 2):.12g} GiB"
        )
        return f"{size} memory"
    return f"{amount} {resource}"


def shown_nodes(nodes: tuple[NodeState, ...]) -> str:
    """Return what there is, as people say it."""
    named = [
        f"{node.name} ({', '.join(shown_amount(*each) for each in node.capacity.items())})"
        for node in nodes[:_MOST_NODES_NAMED]
    ]
    more = len(nodes) - len(named)
    return "; ".join(named + ([f"and {more} more"] if more else [])) or "no nodes"


class Fitness:
    """Compares what gangs ask for with all the nodes, the queue's quota and the runtime.

    What others have claimed on nodes may become free: it is not counted as gone.
    """

    def __init__(self, engine: Engine, features: frozenset[Feature]) -> None:
        self._engine = engine
        self._features = features
        # Jobs are many and shapes are few: answers by the identity of what is asked.
        self._answers: dict[tuple[object, ...], Misfit | None] = {}
        self._nodes: tuple[NodeCapacity, ...] = ()
        self._at_best: Engine | None = None

    def nodes_are(self, nodes: tuple[NodeCapacity, ...]) -> None:
        """Forget answers of other nodes."""
        self._nodes = nodes
        self._at_best = None
        self._answers.clear()

    def check(self, spec: JobSpec, queue: Queue, at: str) -> None:
        """Refuse what can never start."""
        self._check_features(spec, at)
        _check_quota(spec, queue)
        misfit = self._misfit(spec.roles)
        if misfit is not None:
            raise self._refusal(spec, misfit, at)

    def _misfit(self, roles: tuple[Role, ...]) -> Misfit | None:
        key = tuple([(shape_of(role), *role.resources.items()) for role in roles])
        if key not in self._answers:
            if len(self._answers) >= _MOST_KEPT:
                self._answers.clear()
            try:
                self._answers[key] = self._fits_ever(role_requests(roles, {}))
            except EngineError as error:
                raise InvalidRequestError(str(error), field="roles") from error
        return self._answers[key]

    def _fits_ever(self, requests: tuple[events.RoleRequest, ...]) -> Misfit | None:
        misfit = self._engine.fits_ever(requests)
        return misfit and self._best().fits_ever(requests)

    def _best(self) -> Engine:
        """Return an engine that knows the nodes as if others had left them."""
        if all(node.at_best is None for node in self._nodes):
            return self._engine
        if self._at_best is None:
            self._at_best = Engine()
            for node in self._nodes:
                room = node.capacity if node.at_best is None else node.at_best
                self._at_best.apply(events.NodeSet(node.name, room, node.labels, node.schedulable))
        return self._at_best

    def _refusal(self, spec: JobSpec, misfit: Misfit, at: str) -> InvalidRequestError:
        index = next(i for i, role in enumerate(spec.roles) if role.name == misfit.role)
        asked = shown_amount(misfit.resource, misfit.asked)
        largest = shown_amount(misfit.resource, misfit.largest)
        exists = shown_nodes(self._best().nodes())
        role = spec.roles[index]
        if role.per_node and misfit.asked != role.resources.get(misfit.resource):
            return _share_refusal(role, exists, f"{at}roles[{index}].per_node")
        return InvalidRequestError(
            f'role "{misfit.role}" asks for {asked}, which no set of nodes here could ever give'
            f" (at most {largest}); there is: {exists}",
            field=f"{at}roles[{index}].resources.{misfit.resource}",
            given=asked,
            allowed=f"at most {largest}; there is: {exists}",
        )

    def warnings(self, specs: Iterable[JobSpec]) -> list[str]:
        """What is asked for and has no effect here, one sentence each."""
        if Feature.IMAGES in self._features:
            return []
        images = {role.image: None for spec in specs for role in spec.roles if role.image}
        return [
            f'image "{image}" has no effect: this platform starts processes on its own machine,'
            " with what is installed there"
            for image in images
        ]

    def _check_features(self, spec: JobSpec, at: str) -> None:
        for index, role in enumerate(spec.roles):
            if not (role.volumes or role.secrets or role.stdin):
                continue
            for feature, asked in (
                (Feature.VOLUMES, role.volumes),
                (Feature.SECRETS, role.secrets),
                (Feature.STDIN, role.stdin),
            ):
                if asked and feature not in self._features:
                    raise InvalidRequestError(
                        f"the jobs of this platform can have no {feature.value}",
                        field=f"{at}roles[{index}].{feature.name.lower()}",
                        allowed="none",
                    )


def _share_refusal(role: Role, exists: str, field: str) -> InvalidRequestError:
    nodes = -(-role.replicas // role.per_node)
    where = "one node" if nodes == 1 else f"each of {nodes} nodes"
    asked = f"{role.per_node} replica{'s' if role.per_node > 1 else ''} on {where}"
    return InvalidRequestError(
        f'role "{role.name}" asks for {asked}, which the nodes here could never give; there is:'
        f" {exists}",
        field=field,
        given=asked,
        allowed=f"what fits; there is: {exists}",
    )


def _check_quota(spec: JobSpec, queue: Queue) -> None:
    for resource, most in queue.quota.items():
        asked = sum(role.min_replicas * role.resources.get(resource, 0) for role in spec.roles)
        if asked > most:
            raise QuotaExceededError(
                f"the gang asks for {shown_amount(resource, asked)}; the quota of queue"
                f' "{queue.key}" is {shown_amount(resource, most)}',
                field="queue",
                given=shown_amount(resource, asked),
                allowed=shown_amount(resource, most),
                quota=f"{queue.key}:{resource}",
                asked=asked,
                limit=most,
            )
