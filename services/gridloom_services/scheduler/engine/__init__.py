"""The scheduling engine: pure, deterministic, numpy and nothing else.

Give it what happened (`events`) by `Engine.apply`, ask it what to do (`decisions`) by
`Engine.plan`. Each module's docstring says which part it plays; `plan` is where they meet.
"""

from gridloom_services.scheduler.engine import decisions, events
from gridloom_services.scheduler.engine.engine import Engine
from gridloom_services.scheduler.engine.errors import EngineError

__all__ = ["Engine", "EngineError", "decisions", "events"]
