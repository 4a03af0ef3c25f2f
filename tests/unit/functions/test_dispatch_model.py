"""Random events against what must always hold of dispatch."""

from __future__ import annotations

from collections import Counter

from gridloom_services.functions.call import Retries, Status
from gridloom_services.functions.dispatch import Death
from gridloom_services.functions.dispatch.sharing import ask_back
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.functions.rig import POOL, Rig

STATUSES = st.sampled_from([Status.OK, Status.OK, Status.ERROR, Status.GIVEN_BACK])


class DispatchMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.rig = Rig()
        self.names = 0
        self.accepted = set()
        self.cancelled = set()
        self.blocks = {}
        self.leases = []
        quick = Retries(error=1)
        slow = Retries(error=2, backoff_ms=100)
        self.lanes = [
            self.rig.lane(1, item_us=10, retries=quick),
            self.rig.lane(1, retries=slow, max_parallel=3),
            self.rig.lane(2, item_us=10_000),
            self.rig.lane(3, at_most_once=True),
        ]

    @rule(lane=st.integers(0, 3), count=st.integers(1, 12), chunk=st.booleans())
    def submit(self, lane, count, chunk):
        block = self.rig.submit(self.lanes[lane], count, items=count if chunk else 0)
        self.blocks[block.id] = block
        self.accepted |= {
            (block.lane.session, block.sequence(position), block.item(position))
            for position in range(block.size)
        }

    @rule(slots=st.sampled_from([1, 1, 4]))
    def join(self, slots):
        if len(self.rig.dispatcher.workers) < 4:
            self.names += 1
            self.rig.worker(f"w{self.names}", slots)

    @rule()
    def pump(self):
        self.leases += self.rig.pump()

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), status=STATUSES)
    def answer(self, data, status):
        lease = data.draw(st.sampled_from(self.leases))
        if not lease.open:
            return
        piece = data.draw(st.sampled_from(lease.open))
        span = piece.span
        size = data.draw(st.integers(1, span.size))
        if span.block.items:
            first = data.draw(st.integers(span.start, span.stop - size))
            self.rig.answer_items(lease, first, size, status, unit=piece.unit)
        else:
            self.rig.answer(lease, piece.unit, size, status)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def finish(self, data):
        lease = data.draw(st.sampled_from(self.leases))
        self.rig.finish(lease)
        self.leases.remove(lease)

    @precondition(lambda self: self.rig.dispatcher.workers)
    @rule(data=st.data(), known=st.booleans(), unit=st.integers(0, 5))
    def die(self, data, known, unit):
        name = data.draw(st.sampled_from(sorted(self.rig.dispatcher.workers)))
        leases = sorted(self.rig.dispatcher.workers[name].leases)
        death = None
        if known:
            batch = leases[0] if leases else 0
            others = ((batch, unit + 1, 0), (batch, unit + 2, 0))
            death = Death(busy=bool(leases), batch=batch, unit=unit, others=others)
        self.rig.dispatcher.leave(name, death, self.rig.now)

    @rule(lane=st.integers(0, 3), first=st.integers(1, 40), count=st.integers(1, 10))
    def cancel(self, lane, first, count):
        self.rig.dispatcher.cancel(self.lanes[lane], first, count)
        session = self.lanes[lane].session
        self.cancelled |= {
            key for key in self.accepted if self.was_meant(key, session, first, count)
        }

    @staticmethod
    def was_meant(key, session, first, count):
        return key[0] == session and first <= key[1] < first + count

    @rule()
    def share(self):
        """Idle workers get what others have not begun; the asked ones drop it at once."""
        self.rig.now += 0.3
        by_number = {lease.number: lease for lease in self.leases}
        for notice in ask_back(self.rig.held.pool(POOL), self.rig.now):
            lease = by_number[notice.batch]
            if notice.items is None:
                self.rig.answer(lease, notice.unit, 1, Status.CANCELLED)
            else:
                first, count = notice.items
                self.rig.answer_items(lease, first, count, Status.CANCELLED, unit=notice.unit)
        cancelled = {key for key, (status, _) in self.rig.record.results.items() if status == 4}
        assert cancelled <= self.cancelled

    @rule()
    def wait(self):
        self.rig.now += 0.15
        self.rig.held.tick(self.rig.now)
        self.rig.read_recalls(self.blocks)

    @invariant()
    def nothing_is_finished_twice(self):
        assert set(self.rig.record.times.values()) <= {1}
        assert set(self.rig.record.results) <= self.accepted

    @invariant()
    def each_position_is_in_one_place(self):
        places = Counter()
        active = Counter()
        for lane in self.lanes:
            spans = [*lane.ahead, *lane.queue]
            assert lane.backlog == sum(span.size for span in spans)
            leased = [piece.span for lease in self.open_leases(lane) for piece in lease.open]
            assert lane.running == sum(span.size for span in leased)
            if lane.spec.max_parallel:
                assert lane.running <= lane.spec.max_parallel
            for span in spans + leased:
                active[span.block.id] += span.size
                places.update((span.block.id, at) for at in range(span.start, span.stop))
        assert set(places.values()) <= {1}
        assert active == {key: block.active for key, block in self.rig.held.blocks.items()}

    @invariant()
    def workers_count_what_they_hold(self):
        for worker in self.rig.dispatcher.workers.values():
            held = sum(lease.left_units for lease in worker.leases.values())
            assert worker.open_units == held
            for lease in worker.leases.values():
                chunks = {piece.unit for piece in lease.open if piece.span.block.items}
                plain = sum(p.span.size for p in lease.open if not p.span.block.items)
                assert lease.left_units == len(chunks) + plain

    def open_leases(self, lane):
        return [
            lease
            for worker in self.rig.dispatcher.workers.values()
            for lease in worker.leases.values()
            if lease.lane is lane
        ]

    def teardown(self):
        """With a good worker and time, everything ends, and nothing is held any more."""
        for name in sorted(self.rig.dispatcher.workers):
            self.rig.dispatcher.leave(name, Death(), self.rig.now)
        self.rig.worker("last", 2)
        for _ in range(10):
            self.rig.drain()
            self.wait()
        assert set(self.rig.record.results) == self.accepted
        assert self.rig.held.blocks == {}
        assert all(lane.idle for lane in self.lanes)
        assert self.rig.held.pool(POOL).demand == 0


DispatchMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestDispatch = DispatchMachine.TestCase
