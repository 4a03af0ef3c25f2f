"""The scheduling engine: pure, deterministic, numpy and nothing else.

Give it what happened (`events`) by `Engine.apply`, ask it what to do (`decisions`) by
`Engine.plan`. What users are promised:

- **Order.** Higher priority first (a queue's is added to its jobs'), then the older. A request of a
  running gang for more replicas waits among the jobs, as old as the request.
- **Gangs** start whole: `min_replicas` of every role together, or not at all. The rest come singly.
- **Quota.** What a queue's running work holds stays within its quota. Work that only its quota, its
  array's limit or its closed queue holds back blocks nobody and is promised nothing.
- **Backfill.** The first jobs that do not fit (one, unless configured otherwise; one promise a job)
  are promised a start, pinned to nodes, at the earliest time that limits of running work allow.
  Whatever would still run then must leave those nodes, and the queue's quota, whole.
- **Promises are kept** from plan to plan and move only earlier. A higher priority, a node or a
  queue that changed, or work that overruns its limit may break one; then a new one is made.
- **Placement.** A gang takes as few nodes as it can, full ones before empty ones, ties by name.
  What asks for no device stays off nodes that have some, unless it could never run elsewhere.
- **Overrun.** Work beyond its limit counts as ending one second from now.

Each module's docstring says which part it plays; `plan` is where they meet. Fair share, preemption
and estimates have their places: the order within a level of priority is `walk`'s, victims would be
sought where `plan` promises a start, and a fork of `state` can be run forward.
"""

from gridloom_services.scheduler.engine import decisions, events
from gridloom_services.scheduler.engine.engine import Engine
from gridloom_services.scheduler.engine.errors import EngineError

__all__ = ["Engine", "EngineError", "decisions", "events"]
