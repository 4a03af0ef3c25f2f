"""One plan of the reference engine: every question is answered by looking at everything again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from gridloom_services.scheduler.engine import events as ev
from gridloom_services.scheduler.engine.decisions import (
    Assignment,
    Decisions,
    DropPromise,
    Grow,
    Promise,
    Start,
)

FAR = 2**62


@dataclass
class Use:
    """So much of some nodes, from `start` to `end`, by a queue."""

    start: int
    end: int
    queue: str
    held: dict[str, Counter]
    job: str = ""

    @property
    def total(self):
        return sum(self.held.values(), Counter())

    def covers(self, time):
        return self.start <= time < self.end


def is_device(resource):
    return "/" in resource


def ordered(roles):
    def ease(entry):
        position, role = entry
        need = role.resources
        devices = sum(a for r, a in need.items() if is_device(r))
        cpu, memory = need.get("cpu", 0), need.get("memory", 0)
        others = sum(need.values()) - devices - cpu - memory
        return (-devices, -cpu, -memory, -others, -gang_of(role), position)

    return [role for _, role in sorted(enumerate(roles), key=ease)]


def fits_on(have, role, most):
    """How many replicas, at most `most`, go into what a node has; its whole share, or none."""
    need = role.resources
    counts = [max(0, have.get(r, 0)) // amount for r, amount in need.items() if amount]
    share = min(role.per_node, most)
    if not share:
        return min([most, *counts])
    return share if min([share, *counts]) == share else 0


def gang_of(role):
    return role.min_replicas or role.replicas


class ReferencePlan:
    def __init__(self, state, now, max_starts):
        self.state = state
        self.now = now
        self.left = max_starts
        self.failed = {}
        self.promised = []
        self.uses = [
            Use(now, max(run.end, now + 1), run.queue, self.held(run.job, run.parts))
            for run in state.runs.values()
        ]
        self.starts, self.grows, self.new, self.broken = {}, [], {}, []
        self.begun = Counter()
        self.grown = {}

    def decide(self):
        for priority, turns in self.levels():
            self.enter(priority)
            for turn in turns:
                if self.left > 0:
                    self.visit(turn)
        drops = [
            DropPromise(job, element)
            for job, element in self.broken
            if (job not in self.new or self.new[job].element != element)
            and (job, element) not in self.starts
        ]
        return Decisions(
            tuple(self.starts.values()),
            tuple(self.grows),
            tuple(self.new.values()),
            tuple(drops),
            truncated=self.left <= 0 or any(map(self.is_elastic, self.begun)),
        )

    def is_elastic(self, job):
        roles = self.state.jobs[job].event.roles
        return any(gang_of(role) < role.replicas for role in roles)

    def levels(self):
        """Priorities, the highest first, with the turns of each in order."""
        turns = {}
        for job, held in self.state.jobs.items():
            if held.waiting:
                turn = (held.event.sequence, 0, 0, job, None)
                turns.setdefault(self.state.priority(job), []).append(turn)
        for run in self.state.runs.values():
            roles = [role.name for role in self.state.jobs[run.job].event.roles]
            for role, requests in run.requests.items():
                for sequence, count in requests.items():
                    turn = (sequence, 1 + run.element, roles.index(role), run.job, (role, count))
                    turns.setdefault(self.state.priority(run.job), []).append(turn)
        return [(priority, sorted(turns[priority])) for priority in sorted(turns, reverse=True)]

    # What is free

    def held(self, job, parts):
        needs = self.state.needs(job)
        held = {}
        for (role, node), count in parts.items():
            amounts = held.setdefault(node, Counter())
            for resource, amount in needs[role].items():
                amounts[resource] += amount * count
        return held

    def free(self, time, without=None):
        """What every node has free at a time, beside promises but one."""
        promised = [use for use in self.promised if use is not without]
        left = {name: Counter(node.capacity) for name, node in self.state.nodes.items()}
        for use in self.uses + promised:
            if use.covers(time):
                for node in use.held.keys() & left.keys():
                    left[node].subtract(use.held[node])
        return left

    def window(self, start, end, without=None):
        """The least that every node has free from `start` to before `end`."""
        points = {start} | {
            use.start for use in self.promised if use is not without and start < use.start < end
        }
        frees = [self.free(point, without) for point in points]
        return {
            node: {r: min(free[node][r] for free in frees) for r in self.resources()}
            for node in self.state.nodes
        }

    def resources(self):
        names = {r for node in self.state.nodes.values() for r in node.capacity}
        for job in self.state.jobs.values():
            names |= {r for role in job.event.roles for r in role.resources}
        return names

    def pack(self, *, empty=False):
        """Every node's place in the order of use."""
        left = {name: Counter(node.capacity) for name, node in self.state.nodes.items()}
        for use in [] if empty else self.uses:
            for node in use.held.keys() & left.keys():
                if use.covers(self.now):
                    left[node].subtract(use.held[node])
        keys = {}
        for name, node in self.state.nodes.items():
            parts = [
                max(0, left[name][r]) * 1024 // have for r, have in node.capacity.items() if have
            ]
            keys[name] = (min(sum(parts), 65535), name)
        return keys

    # Where a gang may go

    def usable(self, selector, *, cordoned=False):
        return {
            name
            for name, node in self.state.nodes.items()
            if (node.schedulable or cordoned) and selector.items() <= node.labels.items()
        }

    def plain(self):
        return {
            name
            for name, node in self.state.nodes.items()
            if not any(a for r, a in node.capacity.items() if is_device(r))
        }

    def allowed(self, roles, selector):
        """Nodes that a gang may use, or None where it could never run."""
        capacity = {name: dict(node.capacity) for name, node in self.state.nodes.items()}
        everywhere = self.usable(selector)
        if self.place(capacity, roles, everywhere, empty=True) is None:
            return None
        asks = any(amount for role in roles for r, amount in role.resources.items() if is_device(r))
        if asks or not self.state.spare_devices:
            return everywhere
        plain = everywhere & self.plain()
        fits = self.place(capacity, roles, plain, empty=True) is not None
        return plain if fits else everywhere

    def place(self, room, roles, allowed, *, held=(), empty=False):
        """Replicas by (role, node), or None."""
        pack = self.pack(empty=empty)
        room = {node: dict(room[node]) for node in sorted(allowed)}
        parts, near = Counter(), set(held)
        for role in ordered(roles):
            left = gang_of(role)
            counts = {node: fits_on(room[node], role, left) for node in room}
            if sum(counts.values()) < left:
                return None
            while left:
                node = min(
                    (node for node in counts if counts[node]),
                    key=lambda node: (node not in near, -min(counts[node], left), pack[node]),
                )
                some = min(counts.pop(node), left)
                left -= some
                parts[role.name, node] += some
                for resource, amount in role.resources.items():
                    room[node][resource] = room[node].get(resource, 0) - amount * some
            near |= {node for _, node in parts}
        return parts

    # Quota

    def used(self, queue, time):
        uses = [use for use in self.uses if use.queue == queue and use.covers(time)]
        return sum((use.total for use in uses), Counter())

    def within(self, queue, *amounts):
        *held, asked = amounts
        quota = self.state.queues[queue].quota
        return all(
            not asked[r] or sum(some[r] for some in held) + asked[r] <= quota[r] for r in quota
        )

    def promised_to(self, queue, time=None, without=None):
        uses = [
            use
            for use in self.promised
            if use.queue == queue and use is not without and (time is None or use.covers(time))
        ]
        return sum((use.total for use in uses), Counter())

    def quota_allows(self, queue, total, end):
        points = [use.start for use in self.promised if use.queue == queue and use.start < end]
        return self.within(queue, self.used(queue, self.now), total) and all(
            self.within(queue, self.used(queue, at), self.promised_to(queue, at), total)
            for at in points
        )

    def total(self, job):
        total = Counter()
        for role in self.state.jobs[job].event.roles:
            for resource, amount in role.resources.items():
                total[resource] += amount * gang_of(role)
        return total

    # Promises

    def enter(self, priority):
        mine = [
            (job.promise.start, job.event.sequence, name)
            for name, job in self.state.jobs.items()
            if job.promise and self.state.priority(name) == priority
        ]
        kept = []
        for _, _, job in sorted(mine):
            if self.left > 0:
                use = self.keep(job)
                if use is not None:
                    kept.append(use)
                else:
                    self.broken.append((job, self.state.jobs[job].promise.element))
        for use in kept:
            if self.left > 0:
                self.advance(use)

    def may_start(self, job):
        event = self.state.jobs[job].event
        if self.state.closed(event.queue):
            return False
        running = sum(run.job == job for run in self.state.runs.values()) + self.begun[job]
        return not event.max_parallel or running < event.max_parallel

    def keep(self, job):
        held = self.state.jobs[job]
        event, promise = held.event, held.promise
        if len(self.promised) >= self.state.reservations or not self.may_start(job):
            return None
        start = max(promise.start, self.now)
        parts = Counter((a.role, a.node) for a in promise.placement)
        if not {node for _, node in parts} <= self.usable(event.selector):
            return None
        use = Use(start, start + event.time_limit_s, event.queue, self.held(job, parts), job)
        room = self.window(start, use.end)
        if any(
            room[node].get(r, 0) < amount
            for node, amounts in use.held.items()
            for r, amount in amounts.items()
            if amount
        ):
            return None
        points = [start] + [
            other.start
            for other in self.promised
            if other.queue == event.queue and start < other.start < use.end
        ]
        for point in points:
            used = self.used(event.queue, point), self.promised_to(event.queue, point)
            if not self.within(event.queue, *used, use.total):
                return None
        self.promised.append(use)
        return use

    def advance(self, use):
        job = self.state.jobs[use.job]
        if use.start == self.now:
            self.promised.remove(use)
            self.start(use.job, job.promise.element, use.held, job.promise.placement)
            return
        others = self.promised_to(use.queue, without=use)
        if not self.within(use.queue, self.used(use.queue, self.now), others, use.total):
            return
        found = self.earliest(use.job, self.now, use.start, without=use)
        if found is None:
            return
        start, parts = found
        self.promised.remove(use)
        held = self.held(use.job, parts)
        placement = self.placement(use.job, parts)
        if start == self.now:
            self.start(use.job, job.promise.element, held, placement)
        else:
            moved = Use(start, start + use.end - use.start, use.queue, held, use.job)
            self.promised.append(moved)
            self.new[use.job] = Promise(use.job, job.promise.element, start, placement)

    def earliest(self, job, after, before=FAR, without=None):
        event = self.state.jobs[job].event
        limit = event.time_limit_s
        others = [use for use in self.promised if use is not without]
        allowed = self.allowed(event.roles, event.selector)
        ends = {use.end for use in self.uses}
        edges = {after, before}
        for use in others:
            edges |= {use.start - limit + 1, use.start, use.end}

        def at(time, roles):
            return self.place(self.window(time, time + limit, without), roles, allowed)

        for first, stop in pairwise(sorted(edge for edge in edges if after <= edge <= before)):
            times = sorted({first} | {end for end in ends if first < end < stop})
            found = first_fit(times, event.roles, at)
            if found is not None:
                return found
        return None

    def ask_promise(self, job, element):
        event = self.state.jobs[job].event
        if len(self.promised) >= self.state.reservations:
            return
        if self.allowed(event.roles, event.selector) is None:
            return
        used = self.used(event.queue, self.now), self.promised_to(event.queue)
        if not self.within(event.queue, *used, self.total(job)):
            return
        found = self.earliest(job, self.now + 1)
        if found is not None:
            start, parts = found
            held = self.held(job, parts)
            self.promised.append(Use(start, start + event.time_limit_s, event.queue, held, job))
            self.new[job] = Promise(job, element, start, self.placement(job, parts))

    # Turns

    def visit(self, turn):
        *_, job, growth = turn
        if growth:
            self.visit_growth(turn)
        elif not any(use.job == job for use in self.promised):
            self.visit_job(job)

    def visit_job(self, job):
        event = self.state.jobs[job].event
        end = self.now + event.time_limit_s
        for element in sorted(self.state.jobs[job].waiting):
            if (job, element) in self.starts:
                continue
            if self.left <= 0 or not self.may_start(job):
                return
            if not self.quota_allows(event.queue, self.total(job), end):
                return
            parts = self.find(event.roles, event.selector, end)
            if parts is None:
                self.ask_promise(job, element)
                return
            self.start(job, element, self.held(job, parts), self.placement(job, parts))

    def visit_growth(self, turn):
        _, element, _, job, (role, asked) = turn
        run = self.state.runs[job, element - 1]
        event = self.state.jobs[job].event
        request = next(r for r in event.roles if r.name == role)
        one = ev.RoleRequest(role, 1, 1, request.resources)
        end = max(run.end, self.now + 1)
        key = (job, run.element, role)
        used, near = self.grown.setdefault(
            key, (set(run.indices[role]), {n for (_, n), c in run.parts.items() if c})
        )
        added = []
        for _ in range(asked):
            if self.left <= 0 or self.state.closed(event.queue):
                break
            if not self.quota_allows(event.queue, Counter(request.resources), end):
                break
            parts = self.find((one,), event.selector, end, near)
            if parts is None:
                break
            [(_, node)] = parts
            held = {node: Counter(request.resources)}
            self.uses.append(Use(self.now, end, event.queue, held))
            index = min(set(range(len(used) + 1)) - used)
            used.add(index)
            near.add(node)
            added.append(Assignment(role, index, node))
            self.left -= 1
        if added:
            self.grows.append(Grow(job, run.element, role, tuple(added)))

    def find(self, roles, selector, end, near=()):
        key = tuple(
            (r.name, r.replicas, r.min_replicas, r.per_node, *sorted(r.resources.items()))
            for r in roles
        )
        key = (key, tuple(sorted(selector.items())))
        if len(roles) > 1 and self.failed.get(key, FAR) <= end:
            return None
        allowed = self.allowed(roles, selector)
        if allowed is None:
            return None
        parts = self.place(self.window(self.now, end), roles, allowed, held=near)
        if parts is None:
            since = max((u.start + 1 for u in self.promised if u.start < end), default=-FAR)
            self.failed[key] = min(self.failed.get(key, FAR), since)
        return parts

    def start(self, job, element, held, placement):
        event = self.state.jobs[job].event
        self.uses.append(Use(self.now, self.now + event.time_limit_s, event.queue, held))
        self.starts[job, element] = Start(job, element, placement)
        self.begun[job] += 1
        self.left -= 1

    def placement(self, job, parts):
        placement = []
        for role in self.state.jobs[job].event.roles:
            nodes = sorted(
                node
                for (name, node), count in parts.items()
                if name == role.name
                for _ in range(count)
            )
            placement += [Assignment(role.name, i, node) for i, node in enumerate(nodes)]
        return tuple(placement)


def first_fit(times, roles, at):
    """The first time at which a gang fits: every one is tried, or the rule for several roles."""
    if len(roles) == 1:
        for time in times:
            parts = at(time, roles)
            if parts is not None:
                return time, parts
        return None
    alone = [next((t for t in times if at(t, (role,)) is not None), None) for role in roles]
    if None in alone:
        return None
    times = [time for time in times if time >= max(alone)]
    low, high, step = -1, 0, 1
    parts = at(times[0], roles)
    while parts is None and high < len(times) - 1:
        low, high, step = high, min(high + step, len(times) - 1), step * 2
        parts = at(times[high], roles)
    if parts is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        tried = at(times[middle], roles)
        low, high, parts = (middle, high, parts) if tried is None else (low, middle, tried)
    return times[high], parts
