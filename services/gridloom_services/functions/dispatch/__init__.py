"""Dispatch: a state machine of waiting calls and the workers that run them."""

from gridloom_services.functions.dispatch.block import Block, Span
from gridloom_services.functions.dispatch.core import Dispatcher, Interruption, ItemsAnswer
from gridloom_services.functions.dispatch.held import Held
from gridloom_services.functions.dispatch.lane import Ending, Lane, Recall
from gridloom_services.functions.dispatch.lease import Lease
from gridloom_services.functions.dispatch.outcome import Outcomes, Sink
from gridloom_services.functions.dispatch.pool import PoolQueue
from gridloom_services.functions.dispatch.worker import Death, Worker

__all__ = [
    "Block",
    "Death",
    "Dispatcher",
    "Ending",
    "Held",
    "Interruption",
    "ItemsAnswer",
    "Lane",
    "Lease",
    "Outcomes",
    "PoolQueue",
    "Recall",
    "Sink",
    "Span",
    "Worker",
]
