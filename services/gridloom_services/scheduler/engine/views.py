"""Views: the state as plain values, for services that show it and for tests that compare it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gridloom_services.scheduler.engine.decisions import (
    JobState,
    NodeState,
    Part,
    Promise,
    QueueState,
    Snapshot,
    Wanted,
)

if TYPE_CHECKING:
    from gridloom_services.scheduler.engine.columns import Block
    from gridloom_services.scheduler.engine.state import State


class Views:
    """Reads a state and never changes it."""

    def __init__(self, state: State) -> None:
        self._state = state

    def free(self) -> dict[str, int]:
        """What is free on usable nodes, by resource; a node that lacks some counts as none."""
        return self._sums(self._state.nodes.free)

    def capacity(self) -> dict[str, int]:
        """What usable nodes have, by resource."""
        return self._sums(self._state.nodes.capacity)

    def nodes(self) -> tuple[NodeState, ...]:
        """Every node that is here, by name."""
        nodes = self._state.nodes
        return tuple(
            NodeState(
                name=name,
                capacity=self._amounts(nodes.capacity, row),
                free=self._amounts(nodes.free, row, like=nodes.capacity),
                labels=dict(nodes.labels[row]),
                schedulable=bool(nodes.schedulable[row]),
            )
            for name, row in sorted(nodes.rows.items())
            if nodes.present[row]
        )

    def queues(self) -> dict[str, QueueState]:
        """Every queue by name."""
        queues = self._state.queues
        return {
            name: QueueState(
                used=self._amounts(queues.used, row),
                queued=queues.queued[row],
                running=queues.running[row],
                priority=queues.priority[row],
                quota=self._state.resources.named(queues.bounds[row]),
                closed=bool(queues.closed[row]),
            )
            for name, row in sorted(queues.rows.items())
        }

    def snapshot(self) -> Snapshot:
        """Everything."""
        running, wanted = self._running(), self._wanted()
        jobs = {
            job: self._job(row, running.get(row, []), wanted.get(row, []))
            for job, row in sorted(self._state.jobs.rows.items())
        }
        return Snapshot(self.nodes(), self.queues(), jobs)

    def _job(self, row: int, running: list[Part], wanted: list[Wanted]) -> JobState:
        jobs = self._state.jobs
        held = self._state.promises.get(row)
        promise = None
        if held is not None:
            promise = Promise(jobs.ids[row], held.element, held.start, held.placement)
        runs = jobs.runs.get(row)
        return JobState(
            queue=self._state.queues.names[jobs.queue[row]],
            priority=jobs.priority[row],
            sequence=jobs.sequence[row],
            time_limit_s=jobs.limit[row],
            max_parallel=jobs.max_parallel[row],
            waiting=runs.pairs() if runs is not None else ((0, 1),) * jobs.pending[row],
            running=tuple(sorted(running, key=lambda p: (p.element, p.role, p.node, p.count))),
            wanted=tuple(sorted(wanted, key=lambda w: (w.element, w.role, w.sequence))),
            promise=promise,
        )

    def _running(self) -> dict[int, list[Part]]:
        state = self._state
        entries = state.entries
        parts: dict[int, list[Part]] = {}
        for (row, element), gang in state.gangs.items():
            roles = state.shape(row).roles
            parts.setdefault(row, []).extend(
                Part(
                    element=element,
                    role=roles[entries.role[entry]].name,
                    node=state.nodes.names[entries.node[entry]],
                    count=entries.count[entry],
                    end=entries.end[entry],
                )
                for entry in gang.entries
            )
        return parts

    def _wanted(self) -> dict[int, list[Wanted]]:
        state = self._state
        wanted: dict[int, list[Wanted]] = {}
        for row, parent in state.jobs.parents.items():
            role = state.shape(parent.row).roles[parent.role].name
            request = Wanted(
                parent.element, role, state.jobs.sequence[row], state.jobs.pending[row]
            )
            wanted.setdefault(parent.row, []).append(request)
        return wanted

    def _sums(self, amounts: Block) -> dict[str, int]:
        nodes = self._state.nodes
        usable = nodes.usable()
        have = np.maximum(amounts.data[:, : nodes.size], 0)
        there = nodes.capacity.data[:, : nodes.size]
        return {
            name: int(have[number][usable].sum())
            for number, name in enumerate(self._state.resources.names)
            if there[number][usable].any()
        }

    def _amounts(self, block: Block, row: int, like: Block | None = None) -> dict[str, int]:
        shown = (like or block).views
        return {
            name: block.views[number][row]
            for number, name in enumerate(self._state.resources.names)
            if shown[number][row] or block.views[number][row]
        }
